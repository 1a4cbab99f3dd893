package storagetest

// What the contract asks of a storage, a function for each clause.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func empty(s *suite) {
	s.holds("ns")
	s.holds("")
	s.expectCounts(0, 0)
}

func roundTrip(s *suite) {
	everyByte := make([]byte, 8<<10)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	short, long := s.record("ns", testPeer(1), s.in(s.ttl())), s.record("ns", testPeer(2), s.in(s.ttl()/2))
	short.Envelope, long.Envelope = []byte{0}, everyByte
	s.add(short, unlimited)
	s.add(long, unlimited)
	s.holds("ns", short, long)
	s.holds("", short, long)
}

func replaces(s *suite) {
	r := s.record("ns", testPeer(1), s.in(s.ttl()))
	other := s.record("ns", testPeer(2), s.in(s.ttl()))
	elsewhere := s.record("elsewhere", testPeer(1), s.in(s.ttl()))
	for _, r := range []rendezvous.Record{r, other, elsewhere} {
		s.add(r, unlimited)
	}
	for i := range 3 {
		r.Envelope = fmt.Appendf(nil, "%d", i)
		r.Deadline = s.in(s.ttl() + time.Duration(i)*time.Second)
		s.add(r, unlimited)
		s.holds("ns", r, other)
		s.holds("", r, other, elsewhere)
		s.expectCounts(3, 2)
	}
}

func deadline(s *suite) {
	first := s.record("ns", testPeer(1), s.in(s.shorter()))
	second := s.record("ns", testPeer(2), s.in(s.short()))
	third := s.record("other", testPeer(1), s.in(s.short()))
	for _, r := range []rendezvous.Record{second, first, third} {
		s.add(r, unlimited)
	}
	s.sleepUntil(first.Deadline.Add(-s.before()))
	s.holds("ns", first, second)
	s.holds("", first, second, third)
	s.sleepUntil(first.Deadline)
	s.holds("ns", second)
	s.holds("", second, third)
	s.sleepUntil(second.Deadline.Add(-s.before()))
	s.holds("ns", second)
	s.holds("other", third)
	s.sleepUntil(third.Deadline)
	s.holds("ns")
	s.holds("other")
	s.holds("")
}

func refreshMovesDeadline(s *suite) {
	longer, shorter := s.record("ns", testPeer(1), s.in(s.shorter())), s.record("ns", testPeer(2), s.in(s.short()))
	s.add(longer, unlimited)
	s.add(shorter, unlimited)
	longer.Deadline, shorter.Deadline = shorter.Deadline, longer.Deadline
	s.add(longer, unlimited)
	s.add(shorter, unlimited)
	s.sleepUntil(shorter.Deadline.Add(-s.before()))
	s.holds("ns", longer, shorter)
	s.sleepUntil(shorter.Deadline)
	s.holds("ns", longer)
	s.sleepUntil(longer.Deadline.Add(-s.before()))
	s.holds("ns", longer)
	s.sleepUntil(longer.Deadline)
	s.holds("ns")
	s.holds("")
}

func endedAlready(s *suite) {
	r := s.record("ns", testPeer(1), s.in(s.ttl()))
	s.add(r, unlimited)
	r.Deadline = time.Now().Add(-time.Second)
	s.add(r, unlimited)
	s.holds("ns")
	s.holds("")
}

// anyBytes takes namespaces and peers that a careless key encoding would mix up.
func anyBytes(s *suite) {
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
	all := make(map[string][]rendezvous.Record)
	for _, ns := range names {
		for _, p := range peers {
			r := s.record(ns, p, s.in(s.ttl()))
			s.add(r, unlimited)
			all[ns] = append(all[ns], r)
		}
	}
	s.expectCounts(len(names)*len(peers), len(names))
	var every []rendezvous.Record
	for _, ns := range names {
		s.holds(ns, all[ns]...)
		every = append(every, all[ns]...)
	}
	s.holds("", every...)
	s.holds("none of these")
}

func sampleSize(s *suite) {
	const live = 20
	for i := range live {
		s.add(s.record("ns", testPeer(i), s.in(s.ttl())), unlimited)
	}
	for _, ns := range []string{"ns", ""} {
		for _, n := range []int{math.MinInt, -1, 0, 1, 2, live - 1, live, live + 1, 1000, math.MaxInt32, math.MaxInt} {
			if got, want := len(s.sample(ns, n)), min(max(n, 0), live); got != want {
				s.Errorf("Sample(%q, %d) returned %d of %d records, want %d", ns, n, got, live, want)
			}
		}
	}
}

// Few draws will do: what is not uniform is seldom so by a little. A storage that
// is elsewhere takes a while for each.
func (s *suite) draws() int {
	if s.realTime {
		return 1000
	}
	return 5000
}

func uniform(s *suite) {
	s.addPeers("ns", 0, 50)
	s.expectUniformSample("one of 50", "ns", 1, 50)
	s.expectUniformSample("5 of 50", "ns", 5, 50)
	s.expectUniformSample("45 of 50", "ns", 45, 50)
}

func (s *suite) addPeers(ns string, from, to int) {
	s.Helper()
	for i := from; i < to; i++ {
		s.add(s.record(ns, testPeer(i), s.in(s.ttl())), unlimited)
	}
}

func (s *suite) expectUniformSample(what, ns string, n, live int) {
	s.Helper()
	counts := make(map[[2]string]int)
	for range s.draws() {
		for _, r := range s.sample(ns, n) {
			counts[[2]string{r.Namespace, string(r.Peer)}]++
		}
	}
	expectUniform(s, what, counts, live, s.draws(), n)
}

// uniformPairs finds those who come too often, or never, together.
func uniformPairs(s *suite) {
	s.addPeers("ns", 0, 8)
	counts := make(map[[2]peer.ID]int)
	for range s.draws() {
		got := s.sample("ns", 2)
		if len(got) != 2 {
			s.Fatalf("Sample(2) of 8 returned %d", len(got))
		}
		counts[[2]peer.ID{min(got[0].Peer, got[1].Peer), max(got[0].Peer, got[1].Peer)}]++
	}
	expectUniform(s, "pairs of 8", counts, 8*7/2, s.draws(), 1)
}

// uniformFirst finds an order: a part of a sample must be a sample.
func uniformFirst(s *suite) {
	s.addPeers("ns", 0, 10)
	for _, n := range []int{3, 10} {
		counts := make(map[peer.ID]int)
		for range s.draws() {
			if got := s.sample("ns", n); len(got) > 0 {
				counts[got[0].Peer]++
			}
		}
		expectUniform(s, fmt.Sprintf("first of %d of 10", n), counts, 10, s.draws(), 1)
	}
}

// uniformAfterChurn lets every third peer refresh and every third one leave.
func uniformAfterChurn(s *suite) {
	const peers = 60
	ends := s.in(s.shorter())
	for i := range peers {
		s.add(s.record("ns", testPeer(i), ends), unlimited)
	}
	for i := range peers {
		if i%3 != 0 {
			s.add(s.record("ns", testPeer(i), s.in(2*s.ttl())), unlimited)
		}
		if i%3 == 1 {
			s.add(s.record("ns", testPeer(i), s.in(2*s.ttl())), unlimited)
		}
	}
	s.sample("ns", 5)
	s.sleepUntil(ends)
	s.expectUniformSample("5 of 40 when others have just ended", "ns", 5, peers*2/3)
	s.settle()
	s.expectUniformSample("5 of 40 when others have ended before", "ns", 5, peers*2/3)
}

// uniformAll: not each namespace counts the same, but each registration.
func uniformAll(s *suite) {
	s.addPeers("large", 0, 20)
	s.addPeers("small", 0, 4)
	for i := range 16 {
		s.addPeers(fmt.Sprintf("only %d", i), i, i+1)
	}
	s.expectUniformSample("5 of 40 in 18 namespaces", "", 5, 40)
}

func noneEnded(s *suite) {
	const most = 2000
	ends := s.in(s.short())
	for i := range most {
		s.add(s.record("ns", testPeer(i), ends), unlimited)
	}
	left := s.record("ns", testPeer(most), s.in(s.short()+s.ttl()))
	s.add(left, unlimited)
	s.sleepUntil(ends)
	for range 3 {
		for _, n := range []int{1, 10, many} {
			if got := s.sample("ns", n); len(got) != 1 {
				s.Errorf("%d of the one that is left of %d came back for %d", len(got), most, n)
			}
		}
	}
	s.holds("", left)
	s.holds("ns", left)
}

func peerLimit(s *suite) {
	for _, limit := range []int{1, 3, 40} {
		q := rendezvous.Quota{PerPeer: limit}
		p, other := testPeer(limit), testPeer(1000+limit)
		var want []rendezvous.Record
		for i := range limit {
			want = append(want, s.record(fmt.Sprint(limit, "ns", i), p, s.in(s.ttl())))
			s.add(want[i], q)
		}
		over := s.record(fmt.Sprint(limit, "over"), p, s.in(s.ttl()))
		s.refused(over, q, rendezvous.ErrPeerLimit)
		s.holds(over.Namespace)
		for _, r := range want {
			s.holds(r.Namespace, r)
		}
		s.add(s.record(over.Namespace, other, s.in(s.ttl())), q)
	}
}

func totalLimit(s *suite) {
	q := rendezvous.Quota{Total: 5, PerPeer: 4}
	for i := range 5 {
		s.add(s.record(fmt.Sprint("ns", i%2), testPeer(i), s.in(s.ttl())), q)
	}
	s.refused(s.record("ns0", testPeer(5), s.in(s.ttl())), q, rendezvous.ErrFull)
	s.refused(s.record("new", testPeer(0), s.in(s.ttl())), q, rendezvous.ErrFull)
	s.expectCounts(5, 2)
	s.add(s.record("new", testPeer(0), s.in(s.ttl())), rendezvous.Quota{Total: 6})
	s.expectCounts(6, 3)
}

func refreshAtLimit(s *suite) {
	q := rendezvous.Quota{PerPeer: 2, Total: 3}
	records := []rendezvous.Record{
		s.record("a", testPeer(1), s.in(s.ttl())),
		s.record("b", testPeer(1), s.in(s.ttl())),
		s.record("a", testPeer(2), s.in(s.ttl())),
	}
	for _, r := range records {
		s.add(r, q)
	}
	for i := range 3 {
		for j := range records {
			records[j].Envelope = fmt.Append(nil, i, j)
			records[j].Deadline = s.in(s.ttl() + time.Second)
			s.add(records[j], q)
			// A limit that was lowered meanwhile takes nothing from anybody.
			s.add(records[j], rendezvous.Quota{PerPeer: 1, Total: 1})
		}
	}
	s.holds("", records...)
	if err := s.Add(s.Context(), s.record("c", testPeer(1), s.in(s.ttl())), q); err == nil {
		s.Errorf("a refresh has made room")
	}
}

func endedCountsNot(s *suite) {
	q := rendezvous.Quota{PerPeer: 20, Total: 21}
	ends := s.in(s.short())
	for i := range 20 {
		s.add(s.record(fmt.Sprint("ns", i), testPeer(1), ends), q)
	}
	stays := s.record("stays", testPeer(2), s.in(s.short()+s.ttl()))
	s.add(stays, q)
	s.refused(s.record("new", testPeer(1), s.in(s.ttl())), q, rendezvous.ErrPeerLimit)
	s.refused(s.record("new", testPeer(2), s.in(s.ttl())), q, rendezvous.ErrFull)
	s.sleepUntil(ends)
	want := []rendezvous.Record{stays}
	for i := range 20 {
		want = append(want, s.record(fmt.Sprint("new", i), testPeer(1), s.in(s.short()+s.ttl())))
		s.add(want[i+1], q)
	}
	s.refused(s.record("over", testPeer(1), s.in(s.ttl())), q, rendezvous.ErrPeerLimit)
	s.refused(s.record("over", testPeer(2), s.in(s.ttl())), q, rendezvous.ErrFull)
	s.holds("", want...)
}

func endedIsNew(s *suite) {
	perPeer, total := rendezvous.Quota{PerPeer: 1}, rendezvous.Quota{Total: 2}
	r := s.record("ns", testPeer(1), s.in(s.short()))
	s.add(r, perPeer)
	s.sleepUntil(r.Deadline)
	other := s.record("other", testPeer(1), s.in(s.ttl()))
	s.add(other, perPeer)
	third := s.record("other", testPeer(2), s.in(s.ttl()))
	s.add(third, total)
	r.Deadline = s.in(s.ttl())
	s.refused(r, perPeer, rendezvous.ErrPeerLimit)
	s.refused(r, total, rendezvous.ErrFull)
	s.holds("", other, third)
}

func noLimit(s *suite) {
	for i := range 300 {
		s.add(s.record(fmt.Sprint("ns", i), testPeer(0), s.in(s.ttl())), unlimited)
		s.add(s.record("ns", testPeer(i), s.in(s.ttl())), unlimited)
	}
	s.expectCounts(600, 301)
}

func limitsAtOnce(s *suite) {
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
			s.Errorf("%s: %d were added, want %d", what, added, limit)
		}
	}
	ends := s.in(s.ttl())
	compete("one peer", rendezvous.ErrPeerLimit, rendezvous.Quota{PerPeer: limit}, func(i int) rendezvous.Record {
		return s.record(fmt.Sprint("ns", i), testPeer(0), ends)
	})
	compete("all peers", rendezvous.ErrFull, rendezvous.Quota{Total: 2 * limit}, func(i int) rendezvous.Record {
		return s.record("ns", testPeer(1+i), ends)
	})
	s.expectCounts(2*limit, 1+limit)
}

// concurrent has every method running while records begin, move and end.
func concurrent(s *suite) {
	const workers, rounds, peers = 8, 60, 20
	until := time.Now().Add(s.short())
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; i < rounds || (s.realTime && time.Now().Before(until)); i++ {
				ns := fmt.Sprint("ns", i%3)
				ends := s.in(time.Duration(1+(i+w)%4) * s.short() / 8)
				err := s.Add(s.Context(), s.record(ns, testPeer((i*workers+w)%peers), ends), rendezvous.Quota{PerPeer: 3, Total: 3 * peers})
				if err != nil {
					s.Errorf("Add: %v", err)
				}
				s.sample(ns, 7)
				for _, r := range s.sample("", many) {
					if !bytes.Equal(r.Envelope, envelope(r.Namespace, r.Peer)) {
						s.Errorf("%q in %q has another one's envelope: %q", r.Peer, r.Namespace, r.Envelope)
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
	s.holds("")
}

func callersSlice(s *suite) {
	r := s.record("ns", testPeer(1), s.in(s.ttl()))
	for i := range 3 { // new, and the same and other bytes again
		r.Envelope = fmt.Appendf(nil, "envelope %d", i/2)
		want := r
		want.Envelope = bytes.Clone(r.Envelope)
		s.add(r, unlimited)
		for i := range r.Envelope {
			r.Envelope[i] = 'x'
		}
		s.holds("ns", want)
	}
}

func samplesSlice(s *suite) {
	r := s.record("ns", testPeer(1), s.in(s.short()))
	s.add(r, unlimited)
	held := s.sample("ns", 1)
	want := bytes.Clone(r.Envelope)
	check := func(when string) {
		s.Helper()
		if len(held) != 1 || !bytes.Equal(held[0].Envelope, want) {
			s.Errorf("%s, a sample from before is %v", when, show(held))
		}
	}
	r.Envelope = bytes.Repeat([]byte{'x'}, len(want))
	s.add(r, unlimited)
	check("after a refresh")
	s.sleepUntil(r.Deadline)
	s.settle()
	s.add(s.record("ns", testPeer(1), s.in(s.ttl())), unlimited)
	check("after its end")
	if err := s.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	check("after Close")
}

func endedContext(s *suite) {
	kept := s.record("ns", testPeer(1), s.in(s.ttl()))
	s.add(kept, unlimited)
	cancelled, cancel := context.WithCancel(s.Context())
	cancel()
	late, cancel := context.WithDeadline(s.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		want := ctx.Err()
		changed := kept
		changed.Envelope = []byte("changed")
		if err := s.Add(ctx, changed, unlimited); !errors.Is(err, want) {
			s.Errorf("Add: got %v, want %v", err, want)
		}
		if err := s.Add(ctx, s.record("ns", testPeer(2), s.in(s.ttl())), unlimited); !errors.Is(err, want) {
			s.Errorf("Add: got %v, want %v", err, want)
		}
		if _, err := s.Sample(ctx, "ns", 1); !errors.Is(err, want) {
			s.Errorf("Sample: got %v, want %v", err, want)
		}
		if _, err := s.Counts(ctx); !errors.Is(err, want) {
			s.Errorf("Counts: got %v, want %v", err, want)
		}
	}
	s.holds("", kept)
}

func counts(s *suite) {
	s.add(s.record("a", testPeer(1), s.in(s.ttl())), unlimited)
	s.expectCounts(1, 1)
	s.add(s.record("a", testPeer(1), s.in(s.ttl())), unlimited)
	s.expectCounts(1, 1)
	s.add(s.record("a", testPeer(2), s.in(s.ttl())), unlimited)
	s.expectCounts(2, 1)
	s.add(s.record("b", testPeer(1), s.in(s.ttl())), unlimited)
	s.expectCounts(3, 2)
}

func (s *suite) expectCounts(registrations, namespaces int) {
	s.Helper()
	got, err := s.Counts(s.Context())
	if want := (rendezvous.Counts{Registrations: registrations, Namespaces: namespaces}); err != nil || got != want {
		s.Errorf("Counts: got %+v, %v, want %+v", got, err, want)
	}
}

func takesNoMemory(s *suite) {
	ends := s.in(s.short())
	for i := range 300 {
		s.add(s.record(fmt.Sprint("ns", i%7), testPeer(i), ends), unlimited)
	}
	stays := s.record("stays", testPeer(1), s.in(s.short()+s.ttl()))
	s.add(stays, unlimited)
	s.sleepUntil(ends)
	s.settle()
	s.expectCounts(1, 1)
	s.holds("", stays)
}

func closeTwice(s *suite) {
	s.add(s.record("ns", testPeer(1), s.in(s.ttl())), unlimited)
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

func closedSaysSo(s *suite) {
	s.add(s.record("ns", testPeer(1), s.in(s.ttl())), unlimited)
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	for range 2 {
		s.refused(s.record("ns", testPeer(2), s.in(s.ttl())), unlimited, rendezvous.ErrClosed)
		if _, err := s.Sample(s.Context(), "ns", 1); !errors.Is(err, rendezvous.ErrClosed) {
			s.Errorf("Sample: got %v, want %v", err, rendezvous.ErrClosed)
		}
		if _, err := s.Counts(s.Context()); !errors.Is(err, rendezvous.ErrClosed) {
			s.Errorf("Counts: got %v, want %v", err, rendezvous.ErrClosed)
		}
	}
}

func closeWhileBusy(s *suite) {
	ends := s.in(s.ttl())
	var wg, busy sync.WaitGroup
	var closed atomic.Bool
	for w := range 8 {
		busy.Add(1)
		wg.Go(func() {
			for i := 0; ; i++ {
				if i == 3 {
					busy.Done()
				}
				late := closed.Load()
				err := s.Add(s.Context(), s.record("ns", testPeer(8*(i%50)+w), ends), unlimited)
				if err == nil {
					_, err = s.Sample(s.Context(), "ns", 3)
				}
				switch {
				case errors.Is(err, rendezvous.ErrClosed) && i >= 3:
					return
				case err != nil:
					s.Errorf("while closing: %v", err)
				}
				if late {
					s.Errorf("closed, and taking registrations")
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

func outlives(s *suite) {
	ends, later := s.in(s.shorter()), s.in(s.short()+s.ttl())
	ending, staying := s.record("a", testPeer(1), ends), s.record("a", testPeer(2), later)
	refreshed := s.record("b\x00\xff", testPeer(1), ends)
	for _, r := range []rendezvous.Record{ending, staying, refreshed} {
		s.add(r, unlimited)
	}
	refreshed.Envelope, refreshed.Deadline = []byte("refreshed"), later
	s.add(refreshed, unlimited)
	s.Storage = s.reopen(s.t, s.Storage)
	s.holds("a", ending, staying)
	s.holds("", ending, staying, refreshed)
	s.Storage = s.reopen(s.t, s.Storage)
	s.sleepUntil(ends)
	s.holds("", staying, refreshed)
	s.settle()
	s.Storage = s.reopen(s.t, s.Storage)
	s.holds("", staying, refreshed)
	s.expectCounts(2, 2)
}
