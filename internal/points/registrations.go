package points

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Registrations is where a host is registered in one namespace. All methods may be called
// at the same time.
type Registrations struct {
	namespace string
	changed   func()

	mu       sync.Mutex
	at       []Registered // as peers of the namespace prefer the points
	envelope []byte       // as registered last
	stale    bool         // whether all may have ended, because the machine slept
	err      error
	version  uint64 // of the state
}

// Registered is the outcome of registering at a point.
type Registered struct {
	Point        peer.ID
	Since, Until time.Time   // of the last registration granted, since it was asked for
	Err          error       // of the last attempt
	Protocol     protocol.ID // of the last attempt that opened a stream
	envelope     []byte      // of the last registration granted
	stale        bool        // whether it may have ended, because the machine slept
}

// MayLive reports whether the point may have the registration. An attempt that was broken off
// may have reached it.
func (r Registered) MayLive() bool {
	return time.Now().Before(r.Until) || errors.Is(r.Err, context.Canceled)
}

// NewRegistrations returns the registrations of a host that has none yet. changed is
// called whenever the next call of State returns something else, and must not block.
func NewRegistrations(namespace string, changed func()) *Registrations {
	return &Registrations{namespace: namespace, changed: changed}
}

// TakeOver adds the registrations from before that nobody has ended. It must be called before the
// first attempt.
func (r *Registrations) TakeOver(before *Registrations) {
	var left []Registered
	_, _ = before.State(func(at Registered) {
		if at.MayLive() {
			left = append(left, at)
		}
	})
	r.takeOver(left)
	r.changed()
}

func (r *Registrations) takeOver(left []Registered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range left {
		left[i].stale = left[i].stale || r.stale
	}
	r.at = left
	r.version++
}

// State calls each for every point, in the order in which peers of the namespace prefer
// them. It returns why the last attempt registered the host at no point, and a number that
// changes with the state.
func (r *Registrations) State(each func(Registered)) (version uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		each(at)
	}
	return r.version, r.err
}

// At returns the outcome at a point, the zero value if there was no attempt.
func (r *Registrations) At(point peer.ID) Registered {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(point); i >= 0 {
		return r.at[i]
	}
	return Registered{}
}

// Live reports whether the host is registered at a point with these bytes, so that
// registering them again is a refresh.
func (r *Registrations) Live(point peer.ID, envelope []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(point)
	return i >= 0 && !r.at[i].stale && time.Now().Before(r.at[i].Until) && bytes.Equal(envelope, r.at[i].envelope)
}

// Outdated reports whether the registrations may have ended, or have another record.
func (r *Registrations) Outdated(envelope []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stale || !bytes.Equal(envelope, r.envelope)
}

// Begin says that an attempt begins to register these bytes.
func (r *Registrations) Begin(envelope []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.envelope = envelope
}

// Set records the outcome of registering these bytes at a point with a request that was sent at
// the given time: the point may have begun to count when it read that. id is empty if there was no
// stream to the point.
func (r *Registrations) Set(point peer.ID, id protocol.ID, envelope []byte, sent time.Time, granted time.Duration, err error) {
	if r.set(point, id, envelope, sent, granted, err) {
		r.changed()
	}
}

func (r *Registrations) set(point peer.ID, id protocol.ID, envelope []byte, sent time.Time, granted time.Duration, err error) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(point)
	if i < 0 {
		r.add(point)
		i = r.index(point)
		changed = true
	}
	at := &r.at[i]
	changed = changed || err == nil || !sameError(at.Err, err) || id != "" && id != at.Protocol
	if id != "" {
		at.Protocol = id
	}
	if at.Err = err; err == nil {
		at.Since = sent
		at.Until = at.Since.Add(granted)
		at.envelope, at.stale = envelope, false
		r.err, r.stale = nil, false
	}
	if changed {
		r.version++
	}
	return changed
}

// End records the outcome of an attempt as a whole. It forgets points at which the host
// is not registered and that isKnown does not report.
func (r *Registrations) End(err error, isKnown func(peer.ID) bool) {
	if r.end(err, isKnown) {
		r.changed()
	}
}

func (r *Registrations) end(err error, isKnown func(peer.ID) bool) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = !sameError(r.err, err)
	r.err = err
	if r.stale && err != nil {
		for i := range r.at {
			changed = changed || !r.at[i].Until.IsZero()
			r.at[i].Until = time.Time{}
		}
	}
	before := len(r.at)
	r.at = slices.DeleteFunc(r.at, func(at Registered) bool { return !time.Now().Before(at.Until) && !isKnown(at.Point) })
	if changed = changed || len(r.at) < before; changed {
		r.version++
	}
	return changed
}

// SetStale records that the registrations may have ended. The wall clock may also just
// have been set, so the state shows them as ended only when the next attempt has
// failed.
func (r *Registrations) SetStale() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = true
	for i := range r.at {
		r.at[i].stale = true
	}
}

func (r *Registrations) index(point peer.ID) int {
	return slices.IndexFunc(r.at, func(at Registered) bool { return at.Point == point })
}

// add adds a point in its place.
func (r *Registrations) add(point peer.ID) {
	r.at = rank(append(r.at, Registered{Point: point}), func(at Registered) peer.ID { return at.Point }, r.namespace)
}

// sameError reports whether two errors say the same. Each attempt makes new ones.
func sameError(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}
