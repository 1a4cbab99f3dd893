package storagetest

// Checks of deadlines.

import (
	"fmt"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func checkDeadline(s *suite) {
	first := s.record("ns", testPeer(1), s.after(s.shorter()))
	second := s.record("ns", testPeer(2), s.after(s.short()))
	third := s.record("other", testPeer(1), s.after(s.short()))
	for _, r := range []rendezvous.Record{second, first, third} {
		s.add(r, unlimited)
	}
	s.sleepUntil(first.Deadline.Add(-s.margin()))
	s.expectRecords("ns", first, second)
	s.expectRecords("", first, second, third)
	s.sleepUntil(first.Deadline)
	s.expectRecords("ns", second)
	s.expectRecords("", second, third)
	s.sleepUntil(second.Deadline.Add(-s.margin()))
	s.expectRecords("ns", second)
	s.expectRecords("other", third)
	s.sleepUntil(third.Deadline)
	s.expectRecords("ns")
	s.expectRecords("other")
	s.expectRecords("")
}

func checkRefreshMovesDeadline(s *suite) {
	extended := s.record("ns", testPeer(1), s.after(s.shorter()))
	shortened := s.record("ns", testPeer(2), s.after(s.short()))
	s.add(extended, unlimited)
	s.add(shortened, unlimited)
	extended.Deadline, shortened.Deadline = shortened.Deadline, extended.Deadline
	s.add(extended, unlimited)
	s.add(shortened, unlimited)
	s.sleepUntil(shortened.Deadline.Add(-s.margin()))
	s.expectRecords("ns", extended, shortened)
	s.sleepUntil(shortened.Deadline)
	s.expectRecords("ns", extended)
	s.sleepUntil(extended.Deadline.Add(-s.margin()))
	s.expectRecords("ns", extended)
	s.sleepUntil(extended.Deadline)
	s.expectRecords("ns")
	s.expectRecords("")
}

func checkPastDeadline(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	s.add(r, unlimited)
	r.Deadline = time.Now().Add(-time.Second)
	s.add(r, unlimited)
	s.expectRecords("ns")
	s.expectRecords("")
}

func checkExpiredRemoved(s *suite) {
	deadline := s.after(s.short())
	for i := range 300 {
		s.add(s.record(fmt.Sprint("ns", i%7), testPeer(i), deadline), unlimited)
	}
	live := s.record("live", testPeer(1), s.after(s.short()+s.ttl()))
	s.add(live, unlimited)
	s.sleepUntil(deadline)
	s.sleepUntilRemoved()
	s.expectCounts(1, 1)
	s.expectRecords("", live)
}
