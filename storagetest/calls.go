package storagetest

// Checks of concurrency, ownership, contexts and counts.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// checkConcurrentCalls calls all methods while records are added, refreshed and expire.
func checkConcurrentCalls(s *suite) {
	const workers, rounds, peers = 8, 60, 20
	until := time.Now().Add(s.short())
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; i < rounds || (s.realTime && time.Now().Before(until)); i++ {
				ns := fmt.Sprint("ns", i%3)
				deadline := s.after(time.Duration(1+(i+w)%4) * s.short() / 8)
				err := s.Add(s.Context(), s.record(ns, testPeer((i*workers+w)%peers), deadline), rendezvous.Quota{PerPeer: 3, Total: 3 * peers})
				if err != nil {
					s.Errorf("Add: %v", err)
				}
				s.sample(ns, 7)
				for _, r := range s.sample("", allRecords) {
					if !bytes.Equal(r.Envelope, envelope(r.Namespace, r.Peer)) {
						s.Errorf("%q in %q has the envelope of another record: %q", r.Peer, r.Namespace, r.Envelope)
					}
				}
				if _, err := s.Counts(s.Context()); err != nil {
					s.Errorf("Counts: %v", err)
				}
				time.Sleep(s.short() / rounds)
			}
		})
	}
	wg.Wait()
	s.sleepUntil(time.Now().Add(s.short()))
	s.expectRecords("")
}

func checkAddCopies(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	for i := range 3 { // a new record, a refresh with the same bytes, and one with others
		r.Envelope = fmt.Appendf(nil, "envelope %d", i/2)
		want := r
		want.Envelope = bytes.Clone(r.Envelope)
		s.add(r, unlimited)
		for i := range r.Envelope {
			r.Envelope[i] = 'x'
		}
		s.expectRecords("ns", want)
	}
}

func checkSampleUnchanged(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.short()))
	s.add(r, unlimited)
	held := s.sample("ns", 1)
	want := bytes.Clone(r.Envelope)
	check := func(when string) {
		s.Helper()
		if len(held) != 1 || !bytes.Equal(held[0].Envelope, want) {
			s.Errorf("%s, an earlier sample is %v", when, format(held))
		}
	}
	r.Envelope = bytes.Repeat([]byte{'x'}, len(want))
	s.add(r, unlimited)
	check("after a refresh")
	s.sleepUntil(r.Deadline)
	s.sleepUntilRemoved()
	s.add(s.record("ns", testPeer(1), s.after(s.ttl())), unlimited)
	check("after its deadline")
	if err := s.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	check("after Close")
}

func checkEndedContext(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	s.add(r, unlimited)
	cancelled, cancel := context.WithCancel(s.Context())
	cancel()
	late, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		want := ctx.Err()
		changed := r
		changed.Envelope = []byte("changed")
		if err := s.Add(ctx, changed, unlimited); !errors.Is(err, want) {
			s.Errorf("Add: got %v, want %v", err, want)
		}
		if err := s.Add(ctx, s.record("ns", testPeer(2), s.after(s.ttl())), unlimited); !errors.Is(err, want) {
			s.Errorf("Add: got %v, want %v", err, want)
		}
		if _, err := s.Sample(ctx, "ns", 1, 0); !errors.Is(err, want) {
			s.Errorf("Sample: got %v, want %v", err, want)
		}
		if _, err := s.Counts(ctx); !errors.Is(err, want) {
			s.Errorf("Counts: got %v, want %v", err, want)
		}
	}
	s.expectRecords("", r)
}

func checkCounts(s *suite) {
	s.add(s.record("a", testPeer(1), s.after(s.ttl())), unlimited)
	s.expectCounts(1, 1)
	s.add(s.record("a", testPeer(1), s.after(s.ttl())), unlimited)
	s.expectCounts(1, 1)
	s.add(s.record("a", testPeer(2), s.after(s.ttl())), unlimited)
	s.expectCounts(2, 1)
	s.add(s.record("b", testPeer(1), s.after(s.ttl())), unlimited)
	s.expectCounts(3, 2)
}
