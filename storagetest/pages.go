package storagetest

// Checks of pages.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The kinds of the records of these checks.
const (
	usual   = rendezvous.KindPeerRecord
	unusual = rendezvous.KindRoutingState
)

// pager returns the storage under test, which is one that pages.
func (s *suite) pager() rendezvous.Pager {
	p, ok := s.Storage.(rendezvous.Pager)
	if !ok {
		s.Fatalf("%T is no Pager", s.Storage)
	}
	return p
}

// beginOrder makes the storage keep the order, if it does not yet.
func (s *suite) beginOrder() {
	s.Helper()
	s.page("", usual, "", 1)
}

// page returns a page, after it has checked what holds for every page.
func (s *suite) page(ns string, kind rendezvous.RecordKind, after rendezvous.Cursor, n int) ([]rendezvous.Record, rendezvous.Cursor) {
	s.Helper()
	called := time.Now()
	got, cursor, err := s.pager().Page(s.Context(), ns, kind, after, n, 0)
	if err != nil {
		s.Fatalf("Page(%q, kind %d, %d after %q): %v", ns, kind, n, after, err)
	}
	if len(got) > max(n, 0) {
		s.Errorf("Page(%q, kind %d, %d after %q) returned %d records", ns, kind, n, after, len(got))
	}
	s.checkCursor(cursor)
	seen := make(map[[2]string]bool, len(got))
	for _, r := range got {
		key := [2]string{r.Namespace, string(r.Peer)}
		switch {
		case seen[key]:
			s.Errorf("Page(%q) returned %q in %q twice", ns, r.Peer, r.Namespace)
		case ns != "" && r.Namespace != ns:
			s.Errorf("Page(%q) returned a record of %q", ns, r.Namespace)
		case !r.Deadline.After(called):
			s.Errorf("Page(%q) returned a record that had expired %v before", ns, called.Sub(r.Deadline))
		}
		seen[key] = true
	}
	return got, cursor
}

func (s *suite) checkCursor(c rendezvous.Cursor) {
	s.Helper()
	if len(c) > rendezvous.MaxCursorSize || strings.ContainsFunc(string(c), func(r rune) bool { return r < ' ' || r > '~' }) {
		s.Errorf("a cursor is %q, want at most %d bytes of printable ASCII", c, rendezvous.MaxCursorSize)
	}
}

// walk follows cursors until a page is empty.
func (s *suite) walk(ns string, kind rendezvous.RecordKind, after rendezvous.Cursor, n int) (all []rendezvous.Record, end rendezvous.Cursor) {
	s.Helper()
	for {
		got, next := s.page(ns, kind, after, n)
		if len(got) == 0 {
			return all, next
		}
		if all, after = append(all, got...), next; len(all) > 100_000 {
			s.Fatalf("following the cursors in %q does not end", ns)
		}
	}
}

// expectPages follows cursors, and checks that exactly want comes after the first, in this
// order. It returns the last cursor.
func (s *suite) expectPages(ns string, kind rendezvous.RecordKind, after rendezvous.Cursor, want ...rendezvous.Record) rendezvous.Cursor {
	s.Helper()
	got, end := s.walk(ns, kind, after, 3)
	if ns == "" && s.approximateAll { // the order across namespaces, too
		got, want = sorted(got), sorted(want)
	}
	if !slices.EqualFunc(got, want, s.equal) {
		s.Errorf("after %q, %q has of kind %d\n\t%v\nwant\n\t%v", after, ns, kind, format(got), format(want))
	}
	return end
}

// lasting returns a record that is live for longer than it is fresh.
func (s *suite) lasting(ns string, p peer.ID) rendezvous.Record {
	r := s.record(ns, p, s.after(2*s.ttl()))
	r.Fresh = s.after(s.ttl())
	return r
}

// checkPageOrder pages through two namespaces, then refreshes some of them.
func checkPageOrder(s *suite) {
	s.beginOrder()
	var all []rendezvous.Record
	in := make(map[string][]rendezvous.Record)
	cursor := map[string]rendezvous.Cursor{"a": "", "b": "", "": ""}
	add := func(i int, envelope string) {
		r := s.record([]string{"a", "b"}[i%2], testPeer(i), s.after(s.ttl()))
		r.Envelope = append(r.Envelope, envelope...)
		s.add(r, unlimited)
		all, in[r.Namespace] = append(all, r), append(in[r.Namespace], r)
	}
	expect := func() {
		s.Helper()
		for _, ns := range []string{"a", "b"} {
			cursor[ns] = s.expectPages(ns, usual, cursor[ns], in[ns]...)
			s.expectPages(ns, usual, cursor[ns])
		}
		cursor[""] = s.expectPages("", usual, cursor[""], all...)
		s.expectPages("", usual, cursor[""])
		all, in = nil, make(map[string][]rendezvous.Record)
	}
	expect()
	for _, i := range []int{5, 3, 8, 1, 9, 2, 7, 0, 6, 4, 11, 10} {
		add(i, "")
	}
	expect()
	for _, i := range []int{9, 2, 12} { // the same bytes, and a new one
		add(i, "")
	}
	expect()
	for _, i := range []int{2, 9, 4, 1} {
		add(i, "changed")
	}
	expect()
}

// checkPageDuringChanges refreshes, adds and removes between pages.
func checkPageDuringChanges(s *suite) {
	s.beginOrder()
	s.addPeers("ns", 0, 10)
	var cursor rendezvous.Cursor
	seen := make(map[peer.ID]int)
	see := func(n int) {
		s.Helper()
		var got []rendezvous.Record
		got, cursor = s.page("ns", usual, cursor, n)
		for _, r := range got {
			seen[r.Peer]++
		}
	}
	see(4)
	s.addPeers("ns", 2, 3)   // seen: once more
	s.addPeers("ns", 6, 7)   // not seen yet: once
	s.addPeers("ns", 10, 12) // new: once
	s.remove("ns", testPeer(3))
	s.remove("ns", testPeer(8)) // never
	for range 6 {
		see(2)
	}
	want := map[peer.ID]int{testPeer(2): 2}
	for _, i := range []int{0, 1, 3, 4, 5, 6, 7, 9, 10, 11} {
		want[testPeer(i)] = 1
	}
	for i := range 12 {
		if p := testPeer(i); seen[p] != want[p] {
			s.Errorf("following the cursors, peer %d came %d times, want %d", i, seen[p], want[p])
		}
	}
}

// checkConcurrentPages follows cursors while others add. Whatever stays live must come.
func checkConcurrentPages(s *suite) {
	s.beginOrder()
	const workers, each = 6, 40
	var adding sync.WaitGroup
	for w := range workers {
		adding.Go(func() {
			for i := range each {
				ns := fmt.Sprint("ns", i%2)
				if err := s.Add(s.Context(), s.record(ns, testPeer(w*each+i), s.after(s.ttl())), unlimited); err != nil {
					s.Errorf("Add: %v", err)
				}
			}
		})
	}
	var walking sync.WaitGroup
	added := make(chan struct{})
	for _, ns := range []string{"ns0", ""} {
		walking.Go(func() {
			times := make(map[peer.ID]int)
			var cursor rendezvous.Cursor
			for last := false; !last; {
				select {
				case <-added:
					last = true
				default:
				}
				var got []rendezvous.Record
				got, cursor = s.walk(ns, usual, cursor, 7)
				for _, r := range got {
					times[r.Peer]++
				}
				time.Sleep(time.Millisecond)
			}
			for i := range workers * each {
				if n := times[testPeer(i)]; n != 1 && (ns == "" || i%each%2 == 0) {
					s.Errorf("paging through %q while others add, peer %d came %d times, want once", ns, i, n)
				}
			}
		})
	}
	adding.Wait()
	close(added)
	walking.Wait()
}

func checkPageSize(s *suite) {
	s.beginOrder()
	s.addPeers("ns", 0, 20)
	_, middle := s.page("ns", usual, "", 7)
	for n, want := range map[int]int{-1: 0, 0: 0, 1: 1, 12: 12, 13: 13, 14: 13, 1000: 13, allRecords: 13} {
		got, cursor := s.page("ns", usual, middle, n)
		if len(got) != want {
			s.Errorf("a page of %d returned %d records, want %d", n, len(got), want)
		}
		if rest, _ := s.page("ns", usual, cursor, allRecords); len(rest) != 13-want {
			s.Errorf("after a page of %d there are %d records, want %d", n, len(rest), 13-want)
		}
	}
	if got, _ := s.page("other", usual, "", 10); len(got) != 0 {
		s.Errorf("a page of a namespace without records has %d", len(got))
	}
}

// checkPageBytes pages with a bound for the bytes.
func checkPageBytes(s *suite) {
	s.beginOrder()
	size := 0
	for i := range 20 {
		r := s.record("ns", testPeer(i), s.after(s.ttl()))
		r.Envelope = make([]byte, 100)
		size = len(r.Namespace) + len(r.Envelope)
		s.add(r, unlimited)
	}
	for _, ns := range []string{"ns", ""} {
		for maxBytes, want := range map[int]int{1: 1, size: 1, 2*size - 1: 1, 2 * size: 2, 5*size - 1: 4, 5 * size: 5, 21 * size: 20, 0: 20} {
			got, cursor, err := s.pager().Page(s.Context(), ns, usual, "", allRecords, maxBytes)
			if err != nil || len(got) != want {
				s.Errorf("Page(%q) with %d bytes returned %d records, %v, want %d of %d bytes", ns, maxBytes, len(got), err, want, size)
				continue
			}
			if rest, _ := s.page(ns, usual, cursor, allRecords); len(rest) != 20-want {
				s.Errorf("after a page of %d records there are %d, want %d", want, len(rest), 20-want)
			}
		}
	}
}

// checkForeignCursors pages with cursors that the storage never made.
func checkForeignCursors(s *suite) {
	s.beginOrder()
	want := []rendezvous.Record{s.record("ns", testPeer(1), s.after(s.ttl())), s.record("ns", testPeer(2), s.after(s.ttl()))}
	for _, r := range want {
		s.add(r, unlimited)
	}
	_, made := s.page("ns", usual, "", 1)
	cursors := []rendezvous.Cursor{
		"0", "1", "-1", " ", "rubbish", "\x00", "\xff\xfe", "*", "é", "+inf", "(1", "99999999999999999999",
		rendezvous.Cursor(strings.Repeat("9", rendezvous.MaxCursorSize)), rendezvous.Cursor(strings.Repeat("x", 1<<16)),
		made + "0", made + made, made + " ", " " + made, made[:len(made)-1], made[1:], "0" + made,
	}
	for _, c := range cursors {
		if c == made {
			continue
		}
		got, _ := s.page("ns", usual, c, 10)
		// A changed cursor may happen to be another cursor, one before the second record.
		another := len(c) <= rendezvous.MaxCursorSize && slices.EqualFunc(got, want[1:], s.equal)
		if !another && !slices.EqualFunc(got, want, s.equal) {
			s.Errorf("after the cursor %.40q, a page is %v, want %v", c, format(got), format(want))
		}
	}
	for _, digits := range []string{"f", "9", "zz", "99999999"} { // as of a storage years ahead
		if got, _ := s.page("ns", usual, made+rendezvous.Cursor(digits), 10); !slices.EqualFunc(got, want, s.equal) {
			s.Errorf("after the cursor %q, a page is %v, want %v", made+rendezvous.Cursor(digits), format(got), format(want))
		}
	}
}

// checkPageDeadlines pages while records expire and while a page is far behind them.
func checkPageDeadlines(s *suite) {
	s.beginOrder()
	var late []rendezvous.Record
	early := s.after(s.short())
	for i := range 40 {
		r := s.record("ns", testPeer(i), early)
		if i%4 == 3 {
			r.Deadline = s.after(s.short() + s.ttl())
			late = append(late, r)
		}
		s.add(r, unlimited)
	}
	_, cursor := s.page("ns", usual, "", 10)
	s.sleepUntil(early)
	s.expectPages("ns", usual, "", late...)
	s.expectPages("ns", usual, cursor, late[2:]...)
	s.sleepUntilRemoved()
	s.expectPages("ns", usual, cursor, late[2:]...)
	s.expectPages("", usual, "", late...)
}

// checkPageUnchanged holds the records of a page while the storage changes.
func checkPageUnchanged(s *suite) {
	s.beginOrder()
	r := s.record("ns", testPeer(1), s.after(s.short()))
	s.add(r, unlimited)
	held, _ := s.page("ns", usual, "", 1)
	want := bytes.Clone(r.Envelope)
	check := func(when string) {
		s.Helper()
		if len(held) != 1 || !bytes.Equal(held[0].Envelope, want) {
			s.Errorf("%s, an earlier page is %v", when, format(held))
		}
	}
	r.Envelope = bytes.Repeat([]byte{'x'}, len(want))
	s.add(r, unlimited)
	check("after a refresh")
	s.remove("ns", testPeer(1))
	s.add(r, unlimited)
	check("after Remove")
	if err := s.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	check("after Close")
}

// checkKinds has records of two kinds.
func checkKinds(s *suite) {
	s.beginOrder()
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	other := s.record("ns", testPeer(2), s.after(s.ttl()))
	other.Kind = unusual
	s.add(r, unlimited)
	s.add(other, unlimited)
	s.expectCounts(2, 1)
	s.expectRecords("ns", r)
	s.expectRecords("", r)
	for _, ns := range []string{"ns", ""} {
		s.expectPages(ns, usual, "", r)
		s.expectPages(ns, unusual, "", other)
	}
	// The other kind replaces the one there is.
	_, cursor := s.walk("ns", unusual, "", 10)
	r.Kind = unusual
	s.add(r, unlimited)
	s.expectCounts(2, 1)
	s.expectRecords("ns")
	s.expectPages("ns", usual, "")
	s.expectPages("", unusual, "", other, r)
	s.expectPages("ns", unusual, cursor, r)
	r.Kind = usual
	s.add(r, unlimited)
	s.expectRecords("", r)
	s.expectPages("", usual, "", r)
	s.expectPages("", unusual, "", other)
	s.expectCounts(2, 1)
}

// remove calls Remove.
func (s *suite) remove(ns string, p peer.ID) {
	s.Helper()
	if err := s.pager().Remove(s.Context(), ns, p); err != nil {
		s.Fatalf("Remove(%q, %q): %v", ns, p, err)
	}
}

func checkRemove(s *suite) {
	s.beginOrder()
	removed, kept := testPeer(1), testPeer(2)
	var others []rendezvous.Record
	for i := range 5 {
		ns := fmt.Sprint("ns", i)
		r := s.record(ns, removed, s.after(s.ttl()))
		r.Kind = rendezvous.RecordKind(i % 2)
		s.add(r, unlimited)
		others = append(others, s.record(ns, kept, s.after(s.ttl())))
		s.add(others[i], unlimited)
	}
	s.remove("ns1", removed)
	s.expectCounts(9, 5)
	s.expectPages("ns1", unusual, "")
	s.remove("ns2", removed)
	s.expectCounts(8, 5)
	s.expectRecords("ns2", others[2])
	s.expectPages("ns2", usual, "", others[2])
	s.remove("ns2", removed) // nothing to remove
	s.remove("another", removed)
	s.remove("", testPeer(3))
	s.expectCounts(8, 5)
	q := rendezvous.Quota{PerPeer: 4, Total: 9}
	s.add(s.record("ns2", removed, s.after(s.ttl())), q)
	s.expectRefused(s.record("ns5", removed, s.after(s.ttl())), q, rendezvous.ErrPeerLimit)
	s.remove("", removed)
	s.expectCounts(5, 5)
	s.expectRecords("", others...)
	s.expectPages("", usual, "", others...)
	s.expectPages("", unusual, "")
	for i := range 4 {
		s.add(s.record(fmt.Sprint("new", i), removed, s.after(s.ttl())), q)
	}
	s.remove("", removed)
	s.remove("", kept)
	s.expectCounts(0, 0)
}

// checkPagerCalls calls the methods of a Pager with an ended context, and after Close.
func checkPagerCalls(s *suite) {
	s.beginOrder()
	r := s.record("ns", testPeer(1), s.after(s.ttl()))
	s.add(r, unlimited)
	p := s.pager()
	expect := func(ctx context.Context, want error) {
		s.Helper()
		if _, _, err := p.Page(ctx, "ns", usual, "", 1, 0); !errors.Is(err, want) {
			s.Errorf("Page: got %v, want %v", err, want)
		}
		if err := p.Remove(ctx, "ns", r.Peer); !errors.Is(err, want) {
			s.Errorf("Remove: got %v, want %v", err, want)
		}
		if err := p.Renew(ctx, []peer.ID{r.Peer}, r.Deadline); !errors.Is(err, want) {
			s.Errorf("Renew: got %v, want %v", err, want)
		}
	}
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	expect(ended, context.Canceled)
	s.expectRecords("ns", r)
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	expect(s.Context(), rendezvous.ErrClosed)
}

// checkPagesSurvive opens the storage again and follows a cursor from before.
func checkPagesSurvive(s *suite) {
	s.beginOrder()
	long := s.after(20 * s.ttl())
	var all []rendezvous.Record
	for i := range 12 {
		r := s.record("ns", testPeer(i*7%12), long)
		s.add(r, unlimited)
		all = append(all, r)
	}
	other := s.record("ns", testPeer(20), long)
	other.Kind = unusual
	s.add(other, unlimited)
	removed := s.record("ns", testPeer(21), long)
	s.add(removed, unlimited)
	s.remove("ns", removed.Peer)
	_, cursor := s.page("ns", usual, "", 5)
	for range 2 {
		s.Storage = s.reopen(s.t, s.Storage)
		s.expectPages("ns", usual, cursor, all[5:]...)
		s.expectPages("", unusual, "", other)
		s.expectPages("ns", usual, "", all...)
		s.expectRecords("ns", all...)
	}
	end := s.expectPages("ns", usual, cursor, all[5:]...)
	for i, r := range []rendezvous.Record{all[3], s.record("ns", testPeer(30), long), all[8]} {
		r.Envelope = fmt.Append(nil, "after ", i)
		s.add(r, unlimited)
		s.Storage = s.reopen(s.t, s.Storage)
		end = s.expectPages("ns", usual, end, r)
	}
}
