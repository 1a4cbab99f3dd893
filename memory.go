package rendezvous

// A Storage in memory: the index, with a lock, a clock and somebody who takes
// away what has expired.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// evictEvery is how long an expired registration may take up memory.
	evictEvery = time.Second / 4
	// evictAtOnce bounds how many registrations are looked at, to be taken away,
	// while others wait for the lock.
	evictAtOnce = 256
	// farthest is the longest that a registration can live: 146 years.
	farthest = time.Duration(1) << 62
)

// NewMemoryStorage returns a storage that is lost with the process. It has no
// goroutine while it has no registrations, so one that is left unclosed is no leak.
func NewMemoryStorage() Storage { return newMemoryStorage(time.Now) }

type memoryStorage struct {
	// now is the clock, and base where its times are counted from. Only the
	// monotonic reading counts, so a wall clock that jumps changes nothing.
	now  func() time.Time
	base time.Time
	// evict takes away what has expired. It runs every evictEvery while there
	// is anything.
	evict func()
	// janitor counts the timer that is set and the goroutine that it starts.
	janitor sync.WaitGroup

	mu     sync.Mutex // held for less than a microsecond, and never across I/O
	index  *index
	drawn  []slot // Sample's, between its calls
	timer  *time.Timer
	closed bool
}

func newMemoryStorage(now func() time.Time) *memoryStorage {
	s := &memoryStorage{now: now, base: now(), index: newIndex()}
	s.evict = s.evictAll
	return s
}

func (s *memoryStorage) Add(ctx context.Context, r Record, q Quota) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("adding a registration: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(&r, q)
}

// add adds a record, if it may. The caller holds the lock.
func (s *memoryStorage) add(r *Record, q Quota) error {
	now := s.now()
	before, err := s.admit(r, q, now)
	if err != nil {
		return err
	}
	left := clampLeft(r.Deadline.Sub(now))
	s.index.put(before, r.Namespace, r.Peer, r.Envelope, s.elapsed(now)+int64(left))
	s.setTimer()
	return nil
}

// admit decides whether a record may be added. The caller holds the lock.
func (s *memoryStorage) admit(r *Record, q Quota, now time.Time) (*registration, error) {
	if s.closed {
		return nil, ErrClosed
	}
	return s.index.admit(r.Namespace, r.Peer, q, s.elapsed(now))
}

// clampLeft keeps what is left of a registration's life within what can be
// counted with.
func clampLeft(left time.Duration) time.Duration { return min(max(left, 0), farthest) }

// elapsed is now as the index counts, from 1.
func (s *memoryStorage) elapsed(now time.Time) int64 { return int64(now.Sub(s.base)) + 1 }

func (s *memoryStorage) Sample(ctx context.Context, namespace string, n int) ([]Record, error) {
	var records []Record
	err := s.draw(ctx, namespace, n, func(drawn []slot, now time.Time, elapsed int64) {
		records = make([]Record, 0, len(drawn))
		touchRegistrations(drawn)
		for _, d := range drawn {
			records = append(records, Record{
				Namespace: d.reg.namespace.name,
				Peer:      d.reg.registrant.id,
				Envelope:  d.envelope.bytes(),
				Deadline:  now.Add(time.Duration(d.deadline - elapsed)),
			})
		}
	})
	return records, err
}

// touchRegistrations reads from each registration, and then from what it points to, and
// so has them all on their way from memory at the same time; see "Sample(50)" of
// bench-storage.
//
//go:noinline
func touchRegistrations(drawn []slot) (all byte) {
	for _, d := range drawn {
		all ^= byte(d.reg.pos[0])
	}
	for _, d := range drawn {
		all ^= byte(len(d.reg.registrant.id))
	}
	return all
}

// appendSample makes it a [sampler].
func (s *memoryStorage) appendSample(ctx context.Context, dst []listing, namespace string, n int) ([]listing, error) {
	err := s.draw(ctx, namespace, n, func(drawn []slot, _ time.Time, elapsed int64) {
		dst = slices.Grow(dst, len(drawn))
		for _, d := range drawn {
			name := namespace
			if name == "" {
				name = d.reg.namespace.name
			}
			dst = append(dst, listing{namespace: name, envelope: d.envelope.bytes(), left: time.Duration(d.deadline - elapsed)})
		}
	})
	return dst, err
}

// draw hands a sample to use, which must not keep it, with the time as the clock and
// as the index have it.
func (s *memoryStorage) draw(ctx context.Context, namespace string, n int, use func(drawn []slot, now time.Time, elapsed int64)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sampling registrations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	now := s.now()
	elapsed := s.elapsed(now)
	drawn := s.index.sample(s.drawn[:0], namespace, n, elapsed)
	use(drawn, now, elapsed)
	s.reuse(drawn)
	return nil
}

// reuse keeps the memory of a sample for the next, unless it is uncommonly much,
// and nothing that it points to. The caller holds the lock.
func (s *memoryStorage) reuse(drawn []slot) {
	clear(drawn)
	if cap(drawn) <= 2*MaxDiscoverLimit {
		s.drawn = drawn
	}
}

func (s *memoryStorage) Counts(ctx context.Context) (Counts, error) {
	if err := ctx.Err(); err != nil {
		return Counts{}, fmt.Errorf("counting registrations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Counts{}, ErrClosed
	}
	return Counts{Registrations: s.index.count, Namespaces: s.index.namespaces.len()}, nil
}

// Expired makes it an [ExpiryCounter].
func (s *memoryStorage) Expired() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return s.index.expired
}

// verified reports whether exactly this envelope is held for the peer, so that its
// signature was checked when it came.
func (s *memoryStorage) verified(p peer.ID, envelope []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.index.verified(p, envelope)
}

func (s *memoryStorage) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.index = nil
		if s.timer != nil && s.timer.Stop() {
			s.janitor.Done()
		}
	}
	s.mu.Unlock()
	s.janitor.Wait()
	return nil
}

// setTimer has the janitor come by, if it is not about to already. The caller
// holds the lock.
func (s *memoryStorage) setTimer() {
	if s.timer == nil {
		s.janitor.Add(1)
		s.timer = time.AfterFunc(evictEvery, s.clean)
	}
}

// clean is the janitor: it takes away what has expired, and comes again while
// something is left.
func (s *memoryStorage) clean() {
	defer s.janitor.Done()
	s.evict()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if !s.closed && s.index.count > 0 {
		s.setTimer()
	}
}

// evictAll takes away all that has expired, a batch at a time.
func (s *memoryStorage) evictAll() {
	for s.evictSome() {
	}
}

// evictSome takes away a batch and reports whether there may be more.
func (s *memoryStorage) evictSome() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.index.evict(s.elapsed(s.now()), evictAtOnce)
}
