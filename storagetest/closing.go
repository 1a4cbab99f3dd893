package storagetest

// Checks of Close, and of opening again.

import (
	"errors"
	"sync"
	"sync/atomic"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func checkCloseTwice(s *suite) {
	s.add(s.record("ns", testPeer(1), s.after(s.ttl())), unlimited)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				s.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		s.Errorf("Close again: %v", err)
	}
}

func checkClosedErrors(s *suite) {
	s.add(s.record("ns", testPeer(1), s.after(s.ttl())), unlimited)
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	for range 2 {
		s.expectRefused(s.record("ns", testPeer(2), s.after(s.ttl())), unlimited, rendezvous.ErrClosed)
		if _, err := s.Sample(s.Context(), "ns", 1, 0); !errors.Is(err, rendezvous.ErrClosed) {
			s.Errorf("Sample: got %v, want %v", err, rendezvous.ErrClosed)
		}
		if _, err := s.Counts(s.Context()); !errors.Is(err, rendezvous.ErrClosed) {
			s.Errorf("Counts: got %v, want %v", err, rendezvous.ErrClosed)
		}
	}
}

// checkCloseWhileBusy closes the storage while eight callers add and sample. Every call must
// either succeed or return ErrClosed.
func checkCloseWhileBusy(s *suite) {
	deadline := s.after(s.ttl())
	const roundsBefore = 3 // of every caller, before Close
	var wg, busy sync.WaitGroup
	var closed atomic.Bool
	for caller := range 8 {
		busy.Add(1)
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == roundsBefore {
					busy.Done()
				}
				isClosed := closed.Load()
				err := s.Add(s.Context(), s.record("ns", testPeer(8*(i%50)+caller), deadline), unlimited)
				if err == nil {
					_, err = s.Sample(s.Context(), "ns", 3, 0)
				}
				switch {
				case errors.Is(err, rendezvous.ErrClosed) && i >= roundsBefore:
					return
				case err != nil:
					s.Errorf("during Close: %v", err)
				}
				if isClosed {
					s.Errorf("a call after Close succeeded")
					return
				}
			}
		})
	}
	busy.Wait()
	if err := s.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	closed.Store(true)
	wg.Wait()
}

func checkSurvives(s *suite) {
	early, late := s.after(s.shorter()), s.after(s.short()+s.ttl())
	expiring, live := s.record("a", testPeer(1), early), s.record("a", testPeer(2), late)
	refreshed := s.record("b\x00\xff", testPeer(1), early)
	for _, r := range []rendezvous.Record{expiring, live, refreshed} {
		s.add(r, unlimited)
	}
	refreshed.Envelope, refreshed.Deadline = []byte("refreshed"), late
	s.add(refreshed, unlimited)
	s.Storage = s.reopen(s.t, s.Storage)
	s.expectRecords("a", expiring, live)
	s.expectRecords("", expiring, live, refreshed)
	s.Storage = s.reopen(s.t, s.Storage)
	s.sleepUntil(early)
	s.expectRecords("", live, refreshed)
	s.sleepUntilRemoved()
	s.Storage = s.reopen(s.t, s.Storage)
	s.expectRecords("", live, refreshed)
	s.expectCounts(2, 2)
}
