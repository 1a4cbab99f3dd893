package storagetest

// Checks of limits.

import (
	"errors"
	"fmt"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func checkPeerLimit(s *suite) {
	for _, limit := range []int{1, 3, 40} {
		q := rendezvous.Quota{PerPeer: limit}
		p, other := testPeer(limit), testPeer(1000+limit)
		var want []rendezvous.Record
		for i := range limit {
			want = append(want, s.record(fmt.Sprint(limit, "ns", i), p, s.after(s.ttl())))
			s.add(want[i], q)
		}
		over := s.record(fmt.Sprint(limit, "over"), p, s.after(s.ttl()))
		s.expectRefused(over, q, rendezvous.ErrPeerLimit)
		s.expectRecords(over.Namespace)
		for _, r := range want {
			s.expectRecords(r.Namespace, r)
		}
		s.add(s.record(over.Namespace, other, s.after(s.ttl())), q)
	}
}

func checkTotalLimit(s *suite) {
	q := rendezvous.Quota{Total: 5, PerPeer: 4}
	for i := range 5 {
		s.add(s.record(fmt.Sprint("ns", i%2), testPeer(i), s.after(s.ttl())), q)
	}
	s.expectRefused(s.record("ns0", testPeer(5), s.after(s.ttl())), q, rendezvous.ErrFull)
	s.expectRefused(s.record("new", testPeer(0), s.after(s.ttl())), q, rendezvous.ErrFull)
	s.expectCounts(5, 2)
	s.add(s.record("new", testPeer(0), s.after(s.ttl())), rendezvous.Quota{Total: 6})
	s.expectCounts(6, 3)
}

func checkZeroLimit(s *suite) {
	for i := range 300 {
		s.add(s.record(fmt.Sprint("ns", i), testPeer(0), s.after(s.ttl())), unlimited)
		s.add(s.record("ns", testPeer(i), s.after(s.ttl())), unlimited)
	}
	s.expectCounts(600, 301)
}

func checkRefreshAtLimit(s *suite) {
	q := rendezvous.Quota{PerPeer: 2, Total: 3}
	records := []rendezvous.Record{
		s.record("a", testPeer(1), s.after(s.ttl())),
		s.record("b", testPeer(1), s.after(s.ttl())),
		s.record("a", testPeer(2), s.after(s.ttl())),
	}
	for _, r := range records {
		s.add(r, q)
	}
	for i := range 3 {
		for j := range records {
			records[j].Envelope = fmt.Append(nil, i, j)
			records[j].Deadline = s.after(s.ttl() + time.Second)
			s.add(records[j], q)
			// A limit that has been lowered does not refuse a refresh either.
			s.add(records[j], rendezvous.Quota{PerPeer: 1, Total: 1})
		}
	}
	s.expectRecords("", records...)
	if err := s.Add(s.Context(), s.record("c", testPeer(1), s.after(s.ttl())), q); err == nil {
		s.Errorf("after refreshes, a new record over the limit was accepted")
	}
}

func checkExpiredNotCounted(s *suite) {
	q := rendezvous.Quota{PerPeer: 20, Total: 21}
	deadline := s.after(s.short())
	for i := range 20 {
		s.add(s.record(fmt.Sprint("ns", i), testPeer(1), deadline), q)
	}
	live := s.record("live", testPeer(2), s.after(s.short()+s.ttl()))
	s.add(live, q)
	s.expectRefused(s.record("new", testPeer(1), s.after(s.ttl())), q, rendezvous.ErrPeerLimit)
	s.expectRefused(s.record("new", testPeer(2), s.after(s.ttl())), q, rendezvous.ErrFull)
	s.sleepUntil(deadline)
	want := []rendezvous.Record{live}
	for i := range 20 {
		want = append(want, s.record(fmt.Sprint("new", i), testPeer(1), s.after(s.short()+s.ttl())))
		s.add(want[i+1], q)
	}
	s.expectRefused(s.record("over", testPeer(1), s.after(s.ttl())), q, rendezvous.ErrPeerLimit)
	s.expectRefused(s.record("over", testPeer(2), s.after(s.ttl())), q, rendezvous.ErrFull)
	s.expectRecords("", want...)
}

func checkExpiredIsNew(s *suite) {
	perPeer, total := rendezvous.Quota{PerPeer: 1}, rendezvous.Quota{Total: 2}
	r := s.record("ns", testPeer(1), s.after(s.short()))
	s.add(r, perPeer)
	s.sleepUntil(r.Deadline)
	other := s.record("other", testPeer(1), s.after(s.ttl()))
	s.add(other, perPeer)
	third := s.record("other", testPeer(2), s.after(s.ttl()))
	s.add(third, total)
	r.Deadline = s.after(s.ttl())
	s.expectRefused(r, perPeer, rendezvous.ErrPeerLimit)
	s.expectRefused(r, total, rendezvous.ErrFull)
	s.expectRecords("", other, third)
}

// checkConcurrentLimits has more callers add at once than the limits allow.
func checkConcurrentLimits(s *suite) {
	const tries, limit = 64, 10
	compete := func(what string, want error, q rendezvous.Quota, r func(i int) rendezvous.Record) {
		var wg sync.WaitGroup
		errs := make([]error, tries)
		for i := range tries {
			wg.Go(func() { errs[i] = s.Add(s.Context(), r(i), q) })
		}
		wg.Wait()
		added := 0
		for _, err := range errs {
			switch {
			case err == nil:
				added++
			case !errors.Is(err, want):
				s.Errorf("%s: got %v, want %v", what, err, want)
			}
		}
		if added != limit {
			s.Errorf("%s: %d records were added, want %d", what, added, limit)
		}
	}
	deadline := s.after(s.ttl())
	compete("one peer", rendezvous.ErrPeerLimit, rendezvous.Quota{PerPeer: limit}, func(i int) rendezvous.Record {
		return s.record(fmt.Sprint("ns", i), testPeer(0), deadline)
	})
	compete("all peers", rendezvous.ErrFull, rendezvous.Quota{Total: 2 * limit}, func(i int) rendezvous.Record {
		return s.record("ns", testPeer(1+i), deadline)
	})
	s.expectCounts(2*limit, 1+limit)
}
