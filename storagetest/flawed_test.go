package storagetest

// A storage that the checks are tested with.

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// flawed is a simple storage with one flaw, or with none for "".
type flawed struct {
	flaw string

	mu      sync.Mutex
	records []rendezvous.Record
	first   []rendezvous.Record // records as they were before any refresh
	quota   rendezvous.Quota    // of the last Add
	closed  bool
}

func newFlawed(flaw string) *flawed { return &flawed{flaw: flaw} }

func (f *flawed) has(flaw string) bool { return f.flaw == flaw }

// key returns what identifies a registration.
func (f *flawed) key(r rendezvous.Record) [2]string {
	switch {
	case f.has("concatenates namespace and peer"):
		return [2]string{r.Namespace + string(r.Peer)}
	case f.has("ends namespaces at a zero byte"):
		ns, _, _ := strings.Cut(r.Namespace, "\x00")
		return [2]string{ns, string(r.Peer)}
	default:
		return [2]string{r.Namespace, string(r.Peer)}
	}
}

func (f *flawed) live(r rendezvous.Record) bool {
	left := time.Until(r.Deadline)
	switch {
	case f.has("never expires"):
		return true
	case f.has("expires a nanosecond late"):
		return left >= 0
	case f.has("expires a nanosecond early"):
		return left > 1
	default:
		return left > 0
	}
}

// check returns the error of a call that must not do anything.
func (f *flawed) check(ctx context.Context) error {
	if f.closed && !f.has("works after Close") {
		return rendezvous.ErrClosed
	}
	if f.has("ignores contexts") {
		return nil
	}
	return ctx.Err()
}

func (f *flawed) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.check(ctx)
	if err != nil && (f.closed || !f.has("stores with an ended context")) {
		return err
	}
	f.quota = q
	same := func(other rendezvous.Record) bool { return f.key(other) == f.key(r) }
	at := slices.IndexFunc(f.records, same)
	if at >= 0 && !f.live(f.records[at]) && !f.has("refreshes expired records") {
		if !f.has("counts expired records against limits") {
			f.records = slices.Delete(f.records, at, at+1)
		}
		at = -1
	}
	if at < 0 || f.has("counts refreshes against limits") {
		if err := f.limits(r, q); err != nil {
			return err
		}
	}
	if at >= 0 && f.growsBeyond(at, r, q) {
		return rendezvous.ErrFull
	}
	if f.inSteps(q) {
		f.mu.Unlock()
		runtime.Gosched()
		time.Sleep(time.Nanosecond)
		f.mu.Lock()
		at = slices.IndexFunc(f.records, same)
	}
	f.store(at, r)
	return err
}

// inSteps reports whether others may add a record after the limits were checked.
func (f *flawed) inSteps(q rendezvous.Quota) bool {
	return f.has("checks limits in a separate step") || f.has("checks origins in a separate step") && q.PerOrigin > 0 ||
		f.has("checks bytes in a separate step") && q.Bytes > 0
}

// growsBeyond reports whether r, which refreshes the record at an index, has grown beyond the
// average and the bytes.
func (f *flawed) growsBeyond(at int, r rendezvous.Record, q rendezvous.Quota) bool {
	if q.Bytes <= 0 || q.Total <= 0 || f.size(r) <= max(q.Bytes/int64(q.Total), f.size(f.records[at])) || f.has("lets any refresh grow") {
		return f.has("refuses refreshes over the bytes") && q.Bytes > 0 && f.size(r) > q.Bytes
	}
	bytes := f.size(r) - f.size(f.records[at])
	for _, other := range f.records {
		if f.live(other) {
			bytes += f.size(other)
		}
	}
	return bytes > q.Bytes
}

// store stores r as the record at an index, or as a new one for -1.
func (f *flawed) store(at int, r rendezvous.Record) {
	given := r.Envelope
	if !f.has("stores the caller's slice") {
		r.Envelope = slices.Clone(r.Envelope)
	}
	if f.has("truncates envelopes") {
		r.Envelope = r.Envelope[:min(len(r.Envelope), 4096)]
	}
	if f.has("truncates namespaces to 255 bytes") {
		r.Namespace = r.Namespace[:min(len(r.Namespace), 255)]
	}
	if f.has("ignores deadlines in the past") && !f.live(r) {
		return
	}
	if at < 0 || f.has("adds instead of replacing") {
		f.records = append(f.records, r)
		f.first = append(f.first, r)
		return
	}
	old := f.records[at]
	if !f.has("moves to a full origin") && !f.hasRoom(r, f.quota) || f.has("never moves a refresh") {
		r.Origin = old.Origin
	}
	switch {
	case f.has("ignores new deadlines"):
		r.Deadline = old.Deadline
	case f.has("only extends deadlines") && r.Deadline.Before(old.Deadline):
		r.Deadline = old.Deadline
	case f.has("ignores new envelopes"):
		r.Envelope = old.Envelope
	case f.has("reuses envelopes") && len(given) == len(old.Envelope):
		copy(old.Envelope, given)
		r.Envelope = old.Envelope
	}
	f.records[at] = r
}

// limits returns an error if a new record exceeds the quota.
func (f *flawed) limits(r rendezvous.Record, q rendezvous.Quota) error {
	perPeer, total, bytes := 0, 0, int64(0)
	for _, other := range f.records {
		if !f.live(other) && !f.has("counts expired records against limits") {
			continue
		}
		total++
		bytes += f.size(other)
		if other.Peer == r.Peer {
			perPeer++
		}
	}
	if f.has("has a limit off by one") {
		q.PerPeer++
	}
	zero := f.has("takes zero for a limit")
	if (q.PerPeer > 0 || zero) && perPeer >= q.PerPeer && !f.has("has no limit per peer") {
		return rendezvous.ErrPeerLimit
	}
	if !f.hasRoom(r, q) {
		return rendezvous.ErrOriginLimit
	}
	if q.Bytes > 0 && bytes+f.size(r) > q.Bytes && !f.has("has no limit of bytes") {
		return rendezvous.ErrFull
	}
	if (q.Total > 0 || zero) && total >= q.Total && !f.has("has no limit in total") {
		if f.has("returns the wrong limit's error") {
			return rendezvous.ErrPeerLimit
		}
		return rendezvous.ErrFull
	}
	return nil
}

func (f *flawed) Sample(ctx context.Context, namespace string, n, maxBytes int) ([]rendezvous.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	var live []rendezvous.Record
	for _, r := range f.records {
		matches := namespace == "" || r.Namespace == namespace
		if f.has("matches namespaces by prefix") {
			matches = strings.HasPrefix(r.Namespace, namespace)
		}
		if matches && f.live(r) && f.sampled(r) {
			if !f.has("samples with the deadline") {
				r.Deadline = f.freshUntil(r)
			}
			live = append(live, r)
		}
	}
	return f.bounded(maxBytes, f.draw(namespace, n, live)), nil
}

// draw draws n of the live records.
func (f *flawed) draw(namespace string, n int, live []rendezvous.Record) []rendezvous.Record {
	if !f.has("samples in a fixed order") && !f.has("samples neighbours") {
		rand.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	}
	if f.has("samples neighbours") && len(live) > 0 {
		i := rand.IntN(len(live))
		live = append(live[i:len(live):len(live)], live[:i]...)
	}
	byPeer := func(a, b rendezvous.Record) int { return strings.Compare(string(a.Peer), string(b.Peer)) }
	if f.has("prefers one record slightly") && len(live) > 1 && rand.IntN(20) == 0 {
		i := slices.IndexFunc(live, func(r rendezvous.Record) bool { return r.Peer == slices.MinFunc(live, byPeer).Peer })
		live[0], live[i] = live[i], live[0]
	}
	if f.has("draws a namespace first") && namespace == "" && len(live) > 0 {
		names := make(map[string]bool)
		for _, r := range live {
			names[r.Namespace] = true
		}
		all := slices.Sorted(maps.Keys(names))
		chosen := all[rand.IntN(len(all))]
		slices.SortStableFunc(live, func(a, b rendezvous.Record) int {
			switch {
			case a.Namespace == chosen && b.Namespace != chosen:
				return -1
			case a.Namespace != chosen && b.Namespace == chosen:
				return 1
			}
			return 0
		})
	}
	switch {
	case f.has("returns one too many"):
		n++
	case f.has("returns one too few") && n < len(live):
		n--
	}
	n = min(max(n, 0), len(live))
	got := live[:n]
	if f.has("sorts samples") {
		slices.SortFunc(got, byPeer)
	}
	if f.has("repeats a record") && n > 1 {
		got[1] = got[0]
	}
	return got
}

// freshUntil returns until when a record may be sampled.
func (f *flawed) freshUntil(r rendezvous.Record) time.Time {
	if r.Fresh.IsZero() || r.Fresh.After(r.Deadline) && !f.has("samples beyond the deadline") {
		return r.Deadline
	}
	return r.Fresh
}

func (f *flawed) lasting(r rendezvous.Record) bool { return f.freshUntil(r).Before(r.Deadline) }

// sampled reports whether a record may be sampled now.
func (f *flawed) sampled(r rendezvous.Record) bool {
	return (!f.lasting(r) || time.Now().Before(f.freshUntil(r)) || f.has("samples what is not fresh")) &&
		(r.Kind == usual || f.has("samples other kinds")) &&
		(!f.lasting(r) || !f.has("samples no lasting records"))
}

func (f *flawed) Counts(ctx context.Context) (rendezvous.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ctx); err != nil {
		return rendezvous.Counts{}, err
	}
	names, live := make(map[string]bool), 0
	for _, r := range f.records {
		if f.live(r) || f.has("never removes expired records") {
			live++
			names[r.Namespace] = true
			if f.has("counts peers as namespaces") {
				names[string(r.Peer)] = true
			}
		}
	}
	return rendezvous.Counts{Registrations: live, Namespaces: len(names)}, nil
}

func (f *flawed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed && f.has("fails on a second Close") {
		return rendezvous.ErrClosed
	}
	f.closed = true
	return nil
}

// reopened closes f and returns a storage with the same records.
func (f *flawed) reopened() *flawed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	again := newFlawed(f.flaw)
	switch {
	case f.has("loses refreshes on reopening"):
		again.records = slices.Clone(f.first)
	case f.has("extends deadlines on reopening"):
		for _, r := range f.records {
			r.Deadline = r.Deadline.Add(time.Second)
			again.records = append(again.records, r)
		}
	default:
		again.records = slices.Clone(f.records)
	}
	return again
}

// bounded returns the first of records that do not exceed maxBytes.
func (f *flawed) bounded(maxBytes int, records []rendezvous.Record) []rendezvous.Record {
	if maxBytes <= 0 || f.has("draws without a bound in bytes") {
		return records
	}
	left := maxBytes
	var within []rendezvous.Record
	for _, r := range records {
		size := len(r.Envelope)
		if !f.has("does not count namespaces in a sample") {
			size += len(r.Namespace)
		}
		switch {
		case size <= left:
			within = append(within, r)
			left -= size
		case f.has("draws one beyond the bytes"):
			return append(within, r)
		default:
			return within
		}
	}
	return within
}

func (f *flawed) size(r rendezvous.Record) int64 {
	if f.has("counts only envelopes") {
		return int64(len(r.Envelope))
	}
	return int64(len(r.Namespace) + len(r.Peer) + len(r.Envelope))
}

// hasRoom reports whether r may count for its origin.
func (f *flawed) hasRoom(r rendezvous.Record, q rendezvous.Quota) bool {
	if q.PerOrigin == 0 || !r.Origin.IsValid() || f.has("ignores origins") {
		return true
	}
	widths := map[int]int{64: 1, 56: 4, 48: 16}
	if r.Origin.Unmap().Is4() {
		widths = map[int]int{32: 1}
	}
	if f.has("ignores a /56") {
		delete(widths, 56)
	}
	if f.has("ignores a /48") {
		delete(widths, 48)
	}
	for bits, times := range widths {
		network, n := netip.PrefixFrom(r.Origin.Unmap(), bits).Masked(), 0
		for _, other := range f.records {
			live := f.live(other) || f.has("counts expired records for origins")
			same := other.Peer == r.Peer && other.Namespace == r.Namespace
			if live && !same && network.Contains(other.Origin.Unmap()) {
				n++
			}
		}
		if n >= q.PerOrigin*times {
			return false
		}
	}
	return true
}
