package storagetest

// Checks of limits.

import (
	"errors"
	"fmt"
	"net/netip"
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
	sized := func(i int) rendezvous.Record {
		r := s.record("bytes", testPeer(100+i), deadline)
		r.Envelope = make([]byte, 100)
		return r
	}
	size := int64(len(sized(0).Namespace) + len(sized(0).Peer) + len(sized(0).Envelope))
	compete("bytes", rendezvous.ErrFull, rendezvous.Quota{Bytes: limit*size + size - 1}, sized)
	compete("one origin", rendezvous.ErrOriginLimit, rendezvous.Quota{PerOrigin: limit}, func(i int) rendezvous.Record {
		r := s.record("origin", testPeer(200+i), deadline)
		r.Origin = netip.MustParseAddr("192.0.2.1")
		return r
	})
	compete("one peer", rendezvous.ErrPeerLimit, rendezvous.Quota{PerPeer: limit}, func(i int) rendezvous.Record {
		return s.record(fmt.Sprint("ns", i), testPeer(0), deadline)
	})
	compete("all peers", rendezvous.ErrFull, rendezvous.Quota{Total: 4 * limit}, func(i int) rendezvous.Record {
		return s.record("ns", testPeer(1+i), deadline)
	})
	s.expectCounts(4*limit, 3+limit)
}

// recordFrom returns the record of peer i, from an address.
func (s *suite) recordFrom(origin string, i int) rendezvous.Record {
	r := s.record("ns", testPeer(i), s.after(s.ttl()))
	r.Origin = netip.MustParseAddr(origin)
	return r
}

func checkOriginLimit(s *suite) {
	q := rendezvous.Quota{PerOrigin: 2}
	i := 0
	next := func(origin string) rendezvous.Record { i++; return s.recordFrom(origin, i) }
	for _, origin := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
		s.add(next(origin), q)
		s.add(next(origin), q)
		s.expectRefused(next(origin), q, rendezvous.ErrOriginLimit)
	}
	s.expectRefused(next("2001:db8::ffff:0:0:2"), q, rendezvous.ErrOriginLimit)
	s.expectRefused(next("::ffff:192.0.2.1"), q, rendezvous.ErrOriginLimit)
	s.add(next("2001:db8:0:1::1"), q)
	for range 5 {
		r := next("192.0.2.1")
		r.Origin = netip.Addr{}
		s.add(r, q)
	}
}

func checkWideOriginLimit(s *suite) {
	q := rendezvous.Quota{PerOrigin: 1}
	i := 0
	next := func(format string, n int) rendezvous.Record { i++; return s.recordFrom(fmt.Sprintf(format, n), i) }
	for n := range 4 {
		s.add(next("2001:db8:1:%x::1", n), q)
	}
	s.expectRefused(next("2001:db8:1:%x::1", 4), q, rendezvous.ErrOriginLimit)
	for n := 0x100; n < 0xd00; n += 0x100 {
		s.add(next("2001:db8:1:%x::1", n), q)
	}
	s.expectRefused(next("2001:db8:1:%x::1", 0xe00), q, rendezvous.ErrOriginLimit)
	s.add(next("2001:db8:2:%x::1", 0), q)
}

// checkMovedOrigin refreshes from other addresses.
func checkMovedOrigin(s *suite) {
	q := rendezvous.Quota{PerOrigin: 1}
	s.add(s.recordFrom("192.0.2.1", 1), q)
	s.add(s.recordFrom("192.0.2.2", 2), q)
	s.add(s.recordFrom("192.0.2.2", 1), q) // no room: counts at 192.0.2.1
	s.expectRefused(s.recordFrom("192.0.2.1", 3), q, rendezvous.ErrOriginLimit)
	s.add(s.recordFrom("192.0.2.3", 1), q)
	s.add(s.recordFrom("192.0.2.1", 3), q)
	s.expectRefused(s.recordFrom("192.0.2.3", 4), q, rendezvous.ErrOriginLimit)
}

func checkExpiredOriginNotCounted(s *suite) {
	q := rendezvous.Quota{PerOrigin: 20, Bytes: 1 << 14}
	deadline := s.after(s.short())
	for i := range 20 {
		r := s.recordFrom("2001:db8::1", i)
		r.Deadline = deadline
		r.Envelope = make([]byte, 700)
		s.add(r, q)
	}
	s.expectRefused(s.recordFrom("2001:db8::1", 20), q, rendezvous.ErrOriginLimit)
	s.sleepUntil(deadline)
	for i := range 20 {
		r := s.recordFrom("2001:db8::1", 20+i)
		r.Envelope = make([]byte, 700)
		s.add(r, q)
	}
	s.expectRefused(s.recordFrom("2001:db8::1", 40), q, rendezvous.ErrOriginLimit)
}

func checkByteLimit(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	size := int64(len(r.Namespace) + len(r.Peer) + len(r.Envelope))
	s.expectRefused(r, rendezvous.Quota{Bytes: size - 1}, rendezvous.ErrFull)
	s.add(r, rendezvous.Quota{Bytes: size})
	other := s.record("n2", testPeer(2), s.after(s.ttl()))
	other.Envelope = make([]byte, len(r.Envelope))
	s.expectRefused(other, rendezvous.Quota{Bytes: 2*size - 1}, rendezvous.ErrFull)
	r.Envelope = make([]byte, 1000) // a refresh may grow
	s.add(r, rendezvous.Quota{Bytes: size})
	s.expectRefused(other, rendezvous.Quota{Bytes: 2 * size}, rendezvous.ErrFull)
	r.Envelope = make([]byte, len(other.Envelope))
	s.add(r, rendezvous.Quota{Bytes: size})
	s.add(other, rendezvous.Quota{Bytes: 2 * size})

	// With a total there is an average, beyond which a refresh grows only if there is room.
	r.Envelope = append(r.Envelope, 0, 0)
	s.add(r, rendezvous.Quota{Bytes: size + 2, Total: 1})
	r.Envelope = append(r.Envelope, 0, 0)
	s.expectRefused(r, rendezvous.Quota{Bytes: 2*size + 3, Total: 2}, rendezvous.ErrFull)
	s.add(r, rendezvous.Quota{Bytes: 2*size + 4, Total: 2})
	s.add(r, rendezvous.Quota{Bytes: 1, Total: 1}) // it has not grown
	r.Envelope = r.Envelope[:len(r.Envelope)-1]
	s.add(r, rendezvous.Quota{Bytes: 1, Total: 1})
}
