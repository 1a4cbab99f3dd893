package storagetest

// Checks of what is stored.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func checkEmpty(s *suite) {
	s.expectRecords("ns")
	s.expectRecords("")
	s.expectCounts(0, 0)
}

func checkRoundTrip(s *suite) {
	everyByte := make([]byte, 8<<10)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	small := s.record("ns", testPeer(1), s.after(s.ttl()))
	small.Envelope = []byte{0}
	large := s.record("ns", testPeer(2), s.after(s.ttl()/2))
	large.Envelope = everyByte
	s.add(small, unlimited)
	s.add(large, unlimited)
	s.expectRecords("ns", small, large)
	s.expectRecords("", small, large)
}

func checkReplace(s *suite) {
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	other := s.record("ns", testPeer(2), s.after(s.ttl()))
	elsewhere := s.record("elsewhere", testPeer(1), s.after(s.ttl()))
	for _, r := range []rendezvous.Record{r, other, elsewhere} {
		s.add(r, unlimited)
	}
	for i := range 3 {
		r.Envelope = fmt.Appendf(nil, "%d", i)
		r.Deadline = s.after(s.ttl() + time.Duration(i)*time.Second)
		s.add(r, unlimited)
		s.expectRecords("ns", r, other)
		s.expectRecords("", r, other, elsewhere)
		s.expectCounts(3, 2)
	}
}

// checkArbitraryBytes uses namespaces and peer IDs that a careless encoding of keys would mix
// up.
func checkArbitraryBytes(s *suite) {
	var names []string
	for _, c := range []string{
		"\x00", "\x01", "\x02", "\xff", "\xfe", "/", ":", "|", "{", "}", "*", "?", "[", "]",
		"\\", "%", "_", "-", ".", "~", " ", "\t", "\n", "\r\n", "\"", "'", ",", ";", "=", "&", "#", "é", "e\u0301",
	} {
		names = append(names, c, c+c, c+"a", "a"+c, "a"+c+"a", "{"+c+"}")
	}
	for _, n := range []int{1, 2, 127, 128, 129, 255, 256} {
		names = append(names, strings.Repeat("n", n), strings.Repeat("\xff", n-1)+"n", strings.Repeat("\x00", n-1)+"n")
	}
	slices.Sort(names)
	names = slices.Compact(names)
	peers := []peer.ID{testPeer(1), "a", "aa", "a\x00", "\x00", "\x00a", "\xff", "/", ":", "n"}
	var all []rendezvous.Record
	byNamespace := make(map[string][]rendezvous.Record)
	for _, ns := range names {
		for _, p := range peers {
			r := s.record(ns, p, s.after(s.ttl()))
			s.add(r, unlimited)
			all = append(all, r)
			byNamespace[ns] = append(byNamespace[ns], r)
		}
	}
	s.expectCounts(len(names)*len(peers), len(names))
	for _, ns := range names {
		s.expectRecords(ns, byNamespace[ns]...)
	}
	s.expectRecords("", all...)
	s.expectRecords("another namespace")
}
