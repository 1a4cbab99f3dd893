package rendezvous

// A storage in memory: the registry with a lock, a clock and a timer that evicts what
// has expired.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/registry"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

const (
	// evictInterval is how long an expired registration may take up memory.
	evictInterval = time.Second / 4
	// evictBatch is how many registrations an eviction looks at while others wait for
	// the lock.
	evictBatch = 256
	// longestLife bounds the life of a registration, so that times do not overflow: 146
	// years.
	longestLife = time.Duration(1) << 62
)

// NewMemoryStorage returns a storage whose registrations are lost with the process. It
// has no goroutine while it is empty, so a storage that is never closed is no leak. It is a
// [Pager].
func NewMemoryStorage() Storage { return newMemoryStorage(time.Now, nil) }

type memoryStorage struct {
	// now is the clock. Times are counted from base, by the monotonic clock, so a wall
	// clock that jumps changes nothing.
	now  func() time.Time
	base time.Time
	// evict evicts what has expired. It runs every evictInterval while the storage is
	// not empty.
	evict func()
	// evicting counts the timer that is set and the goroutine that it starts.
	evicting sync.WaitGroup

	mu       sync.Mutex // held briefly, and never across I/O
	registry *registry.Registry
	drawn    []registry.Slot   // memory of the last sample, for the next one
	paged    []*registry.Place // memory of the last page, for the next one
	timer    *time.Timer
	closed   bool
}

// newMemoryStorage returns a storage with the clock now. expired, if it is not nil, is
// called for each registration that expires, with the lock held.
func newMemoryStorage(now func() time.Time, expired func(namespace string, p peer.ID)) *memoryStorage {
	s := &memoryStorage{now: now, base: now(), registry: registry.New(expired)}
	s.evict = s.evictAll
	return s
}

func (s *memoryStorage) Add(ctx context.Context, r Record, q Quota) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("add a registration: %w", err)
	}
	return s.retry(func() error { return s.add(&r, q) })
}

// retry calls f with the lock held, and again while the registry is behind. Others may
// use the registry in between, so that nobody waits for a large eviction.
func (s *memoryStorage) retry(f func() error) error {
	for {
		err := s.locked(f)
		if !errors.Is(err, registry.ErrBehind) {
			return err
		}
	}
}

// locked calls f with the lock held.
func (s *memoryStorage) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// add adds a record if the quota allows it. s.mu is held.
func (s *memoryStorage) add(r *Record, q Quota) error {
	now := s.now()
	e := s.entry(r, now)
	return s.addEntry(&e, q, now)
}

// addEntry adds an entry if the quota allows it. s.mu is held.
func (s *memoryStorage) addEntry(e *registry.Entry, q Quota, now time.Time) error {
	admission, err := s.admit(e, q, now)
	if err != nil {
		return err
	}
	s.registry.Put(admission, e)
	s.setTimer()
	return nil
}

// entry returns a record as the registry has it.
func (s *memoryStorage) entry(r *Record, now time.Time) registry.Entry {
	elapsed := s.elapsed(now)
	var fresh int64
	if !r.Fresh.IsZero() {
		fresh = elapsed + int64(clampLife(r.Fresh.Sub(now)))
	}
	return registry.Entry{
		Namespace: r.Namespace,
		Peer:      r.Peer,
		Envelope:  r.Envelope,
		Deadline:  elapsed + int64(clampLife(r.Deadline.Sub(now))),
		Fresh:     fresh,
		Kind:      registry.Kind(r.Kind),
		Origin:    registry.OriginOf(r.Origin),
	}
}

// admit decides whether an entry may be added. s.mu is held.
func (s *memoryStorage) admit(e *registry.Entry, q Quota, now time.Time) (registry.Admission, error) {
	if s.closed {
		return registry.Admission{}, ErrClosed
	}
	return s.registry.Admit(e, registry.Quota(q), s.elapsed(now))
}

// clampLife bounds the time that a registration has left.
func clampLife(left time.Duration) time.Duration { return min(max(left, 0), longestLife) }

// elapsed converts now to the registry's time, which begins at 1.
func (s *memoryStorage) elapsed(now time.Time) int64 { return int64(now.Sub(s.base)) + 1 }

func (s *memoryStorage) Sample(ctx context.Context, namespace string, n, maxBytes int) ([]Record, error) {
	var records []Record
	err := s.draw(ctx, namespace, n, maxBytes, func(drawn []registry.Slot, now time.Time, elapsed int64) {
		records = make([]Record, len(drawn))
		// This loop only follows pointers, so the processor loads what they point to in
		// parallel.
		for i := range drawn {
			records[i].Namespace, records[i].Peer = drawn[i].Namespace(), drawn[i].Peer()
		}
		for i := range drawn {
			records[i].Envelope = drawn[i].Envelope()
			records[i].Deadline = now.Add(time.Duration(drawn[i].Deadline() - elapsed))
		}
	})
	return records, err
}

// appendSample appends a sample to dst in the form in which an answer needs it.
func (s *memoryStorage) appendSample(ctx context.Context, dst []wire.Found, namespace string, n, maxBytes int) ([]wire.Found, error) {
	err := s.draw(ctx, namespace, n, maxBytes, func(drawn []registry.Slot, _ time.Time, elapsed int64) {
		for i := range drawn {
			d := &drawn[i]
			name := namespace
			if name == "" {
				name = d.Namespace()
			}
			dst = append(dst, wire.Found{
				Namespace: name,
				Envelope:  d.Envelope(),
				TTL:       remainingSeconds(time.Duration(d.Deadline() - elapsed)),
			})
		}
	})
	return dst, err
}

// draw passes a sample to use, which must not keep it, together with the current time as
// the clock and the registry have it.
func (s *memoryStorage) draw(ctx context.Context, namespace string, n, maxBytes int, use func(drawn []registry.Slot, now time.Time, elapsed int64)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sample registrations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	now := s.now()
	elapsed := s.elapsed(now)
	drawn := s.registry.Sample(s.drawn[:0], namespace, n, maxBytes, elapsed)
	use(drawn, now, elapsed)
	s.reuse(drawn)
	return nil
}

// reuse keeps the memory of a sample for the next one, unless it is uncommonly large.
// s.mu is held.
func (s *memoryStorage) reuse(drawn []registry.Slot) {
	clear(drawn) // so that nothing is kept alive
	if cap(drawn) <= 2*MaxDiscoverLimit {
		s.drawn = drawn
	}
}

// Page implements [Pager].
func (s *memoryStorage) Page(ctx context.Context, namespace string, kind RecordKind, after Cursor, n, maxBytes int) ([]Record, Cursor, error) {
	var records []Record
	end, err := s.page(ctx, namespace, kind, after, n, maxBytes, func(places []*registry.Place, now time.Time, elapsed int64) {
		records = make([]Record, len(places))
		for i, p := range places {
			records[i] = Record{
				Namespace: p.Namespace(),
				Peer:      p.Peer(),
				Envelope:  p.Envelope(),
				Deadline:  now.Add(time.Duration(p.Deadline() - elapsed)),
				Kind:      kind,
			}
		}
	})
	return records, end, err
}

// page passes a page to use, as draw does with a sample, and returns the cursor at its end.
func (s *memoryStorage) page(ctx context.Context, namespace string, kind RecordKind, after Cursor, n, maxBytes int, use func(places []*registry.Place, now time.Time, elapsed int64)) (Cursor, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("page through registrations: %w", err)
	}
	var end Cursor
	err := s.retry(func() error {
		if s.closed {
			return ErrClosed
		}
		now := s.now()
		elapsed := s.elapsed(now)
		places, cursor, err := s.registry.Page(s.paged[:0], namespace, registry.Kind(kind), string(after), n, maxBytes, elapsed)
		if err != nil {
			return err
		}
		end = Cursor(cursor)
		use(places, now, elapsed)
		clear(places) // so that nothing is kept alive
		if cap(places) <= 2*MaxDiscoverLimit {
			s.paged = places
		}
		return nil
	})
	return end, err
}

// Remove implements [Pager].
func (s *memoryStorage) Remove(ctx context.Context, namespace string, p peer.ID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove a registration: %w", err)
	}
	return s.locked(func() error {
		if s.closed {
			return ErrClosed
		}
		s.registry.Remove(namespace, p)
		return nil
	})
}

// Renew implements [Pager]. It takes the lock for each peer anew, so that nobody waits for
// many.
func (s *memoryStorage) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	for _, p := range peers {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("renew registrations: %w", err)
		}
		if err := s.locked(func() error { return s.renew(p, fresh) }); err != nil {
			return err
		}
	}
	return nil
}

// renew renews the registrations of a peer. s.mu is held.
func (s *memoryStorage) renew(p peer.ID, fresh time.Time) error {
	if s.closed {
		return ErrClosed
	}
	now := s.now()
	elapsed := s.elapsed(now)
	s.registry.Renew(p, elapsed+int64(clampLife(fresh.Sub(now))), elapsed)
	return nil
}

func (s *memoryStorage) Counts(ctx context.Context) (Counts, error) {
	if err := ctx.Err(); err != nil {
		return Counts{}, fmt.Errorf("count registrations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Counts{}, ErrClosed
	}
	return Counts{Registrations: s.registry.Len(), Namespaces: s.registry.Namespaces()}, nil
}

// Expired implements [ExpiryCounter].
func (s *memoryStorage) Expired() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return s.registry.Expired()
}

// hasEnvelope reports whether the peer registered exactly this envelope last, so that its
// signature was checked then, how long the peer is still registered in the namespace, and how
// long ago it registered there.
func (s *memoryStorage) hasEnvelope(namespace string, p peer.ID, envelope []byte) (verified bool, left, age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.registry.HasEnvelope(p, envelope) {
		return false, 0, 0
	}
	now := s.elapsed(s.now())
	return true, time.Duration(s.registry.Deadline(namespace, p) - now), time.Duration(s.registry.Age(namespace, p, now))
}

// left returns how long the peer is still registered in the namespace, with whatever envelope.
func (s *memoryStorage) left(namespace string, p peer.ID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return time.Duration(s.registry.Deadline(namespace, p) - s.elapsed(s.now()))
}

func (s *memoryStorage) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.registry = nil
		if s.timer != nil && s.timer.Stop() {
			s.evicting.Done()
		}
	}
	s.mu.Unlock()
	s.evicting.Wait()
	return nil
}

// setTimer sets the timer for the next eviction, unless it is set. s.mu is held.
func (s *memoryStorage) setTimer() {
	if s.timer == nil {
		s.evicting.Add(1)
		s.timer = time.AfterFunc(evictInterval, s.evictAndSetTimer)
	}
}

// evictAndSetTimer evicts, and sets the timer again if anything is left.
func (s *memoryStorage) evictAndSetTimer() {
	defer s.evicting.Done()
	s.evict()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if !s.closed && s.registry.Len() > 0 {
		s.setTimer()
	}
}

// evictAll evicts everything that has expired, a batch at a time.
func (s *memoryStorage) evictAll() {
	for s.evictBatch() {
	}
}

// evictBatch evicts a batch and reports whether there may be more.
func (s *memoryStorage) evictBatch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.registry.Evict(s.elapsed(s.now()), evictBatch)
}
