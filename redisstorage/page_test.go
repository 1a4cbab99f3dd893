package redisstorage

// Paging, freshness and kinds of registrations.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const usual, unusual = rendezvous.KindPeerRecord, rendezvous.KindRoutingState

// lastingRecord returns a registration of two hours that is fresh for a shorter time.
func lastingRecord(ns string, i int, fresh time.Duration) rendezvous.Record {
	r := testRecord(ns, i, 2*time.Hour)
	r.Fresh = time.Now().Add(fresh)
	return r
}

// follow pages from a cursor until a page is empty. It returns the numbers of the peers in order,
// and the last cursor.
func follow(t *testing.T, s *Storage, ns string, kind rendezvous.RecordKind, after rendezvous.Cursor, n int) ([]int, rendezvous.Cursor) {
	t.Helper()
	var peers []int
	for range 10_000 {
		got, cursor, err := s.Page(t.Context(), ns, kind, after, n, 0)
		require.NoError(t, err)
		require.LessOrEqual(t, len(got), n)
		require.LessOrEqual(t, len(cursor), rendezvous.MaxCursorSize)
		for _, r := range got {
			require.Equal(t, kind, r.Kind)
			peers = append(peers, peerNumber(t, r))
		}
		after = cursor
		if len(got) == 0 {
			return peers, after
		}
	}
	t.Fatal("the pages do not end")
	return nil, ""
}

// peerNumber returns the number of the peer that a test record is of.
func peerNumber(t *testing.T, r rendezvous.Record) (i int) {
	t.Helper()
	_, err := fmt.Sscanf(string(r.Envelope), "envelope of %d", &i)
	require.NoError(t, err)
	require.Equal(t, testPeer(i), r.Peer)
	require.NotEmpty(t, r.Namespace)
	return i
}

func numbers(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// TestPage checks that following cursors shows each registration once, in order, and then what is
// new, at each of two points that share a registry.
func TestPage(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s, other := open(t, url), open(t, url)
		// These are there before the order is kept, and come in any order.
		for i := range 500 {
			mustAdd(t, s, testRecord("ns", i, time.Minute))
		}
		got, cursor := follow(t, s, "ns", usual, "", 70)
		slices.Sort(got)
		require.Equal(t, numbers(0, 500), got)

		for i := 500; i < 1000; i++ {
			mustAdd(t, []*Storage{s, other}[i%2], testRecord("ns", i, time.Minute), testRecord(fmt.Sprint("other", i%3), i, time.Minute))
		}
		for _, n := range []int{1000, 33} {
			got, end := follow(t, other, "ns", usual, cursor, n)
			require.Equal(t, numbers(500, 1000), got)
			got, _ = follow(t, s, "ns", usual, end, n)
			require.Empty(t, got)
		}
		all, end := follow(t, other, "", usual, "", 300)
		require.Len(t, all, 1500)
		slices.Sort(all)
		require.Len(t, slices.Compact(all), 1000)

		// A refresh is new again. What is removed or has ended is gone.
		_, cursor = follow(t, s, "ns", usual, cursor, 1000)
		for i := 700; i < 720; i++ {
			mustAdd(t, other, testRecord("ns", i, time.Minute))
		}
		mustAdd(t, s, testRecord("ns", 1000, time.Second), testRecord("ns", 1001, time.Minute))
		require.NoError(t, other.Remove(t.Context(), "ns", testPeer(1001)))
		require.NoError(t, other.Remove(t.Context(), "ns", testPeer(705)))
		pause(t, time.Second)
		want := slices.Concat(numbers(700, 705), numbers(706, 720))
		for _, after := range []rendezvous.Cursor{cursor, end} {
			got, _ = follow(t, s, "ns", usual, after, 7)
			require.Equal(t, want, got)
		}
		got, _ = follow(t, s, "", usual, end, 7)
		require.Equal(t, want, got)

		foreign := []rendezvous.Cursor{
			"", "rubbish", "!", rendezvous.Cursor(strings.Repeat("A", 255)), encodeCursor(make([]mark, len(s.shards))),
			encodeCursor(slices.Repeat([]mark{{order: 77, seq: 1 << 55}}, len(s.shards))),
		}
		for _, cursor := range foreign {
			got, _ = follow(t, s, "ns", usual, cursor, 1000)
			require.Len(t, got, 999, "%q is before the first", cursor)
		}
		ahead := decodeCursor(end, len(s.shards))
		for i := range ahead {
			ahead[i].seq += int64(time.Hour / time.Microsecond)
		}
		got, _ = follow(t, s, "ns", usual, encodeCursor(ahead), 1000)
		require.Len(t, got, 999, "a cursor ahead of the order is before the first")
	})
}

// TestPageBytes checks that a page stops before it exceeds a number of bytes, but not before its
// first registration.
func TestPageBytes(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		const size, peers = 1000, 400
		s := open(t, url)
		_, none, err := s.Page(t.Context(), "ns", usual, "", 0, 0)
		require.NoError(t, err)
		require.Empty(t, none)
		for i := range peers {
			r := testRecord("ns", i, time.Minute)
			r.Envelope = append(fmt.Appendf(nil, "envelope of %d ", i), make([]byte, size)...)[:size-len("ns")]
			mustAdd(t, s, r)
		}
		for _, ns := range []string{"ns", ""} {
			for _, most := range []int{1, size - 1, size, 7*size + 1, 300 * size, 10 * peers * size} {
				var all []rendezvous.Record
				var cursor rendezvous.Cursor
				for len(all) < min(peers, 2000*most/size+10) {
					got, next, err := s.Page(t.Context(), ns, usual, cursor, peers, most)
					require.NoError(t, err)
					require.Len(t, got, min(max(1, most/size), peers-len(all)))
					all, cursor = append(all, got...), next
				}
				for i, r := range all {
					require.Equal(t, i, peerNumber(t, r))
				}
			}
		}
	})
}

// TestPageWhileChanging checks that a reader that follows cursors misses no
// registration while others are added, refreshed and removed at two points.
func TestPageWhileChanging(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		points := []*Storage{open(t, url), open(t, url)}
		end := time.Now().Add(2 * time.Second)
		var adding sync.WaitGroup
		const callers, each = 8, 50
		last := make([][each]string, callers) // the last envelope of each peer, or "" if removed
		for caller := range callers {
			adding.Go(func() {
				for version := 0; time.Now().Before(end); version++ {
					i := rand.IntN(each)
					s := points[rand.IntN(2)]
					r := testRecord("ns", caller*each+i, time.Minute)
					var err error
					if rand.IntN(4) == 0 {
						err = s.Remove(t.Context(), "ns", r.Peer)
						r.Envelope = nil
					} else {
						r.Envelope = fmt.Appendf(r.Envelope, " version %d", version)
						err = s.Add(t.Context(), r, largeQuota)
					}
					if err != nil {
						t.Error(err)
						return
					}
					last[caller][i] = string(r.Envelope)
				}
			})
		}
		seen := make(map[int]string)
		var cursor rendezvous.Cursor
		page := func() int {
			got, next, err := points[rand.IntN(2)].Page(t.Context(), "ns", usual, cursor, 1+rand.IntN(100), 0)
			require.NoError(t, err)
			for _, r := range got {
				i := peerNumber(t, r)
				require.NotEqual(t, string(r.Envelope), seen[i], "a registration is seen once")
				seen[i] = string(r.Envelope)
			}
			cursor = next
			return len(got)
		}
		for time.Now().Before(end) {
			page()
		}
		adding.Wait()
		for got := 1; got > 0; {
			got = page()
		}
		live := 0
		for caller := range callers {
			for i, envelope := range last[caller] {
				if envelope != "" {
					live++
					require.Equal(t, envelope, seen[caller*each+i])
				}
			}
		}
		require.Greater(t, live, callers*each/2)
		require.Len(t, mustSample(t, points[0], "ns"), live)
	})
}

// TestFreshness checks that samples of all points contain what is fresh, and pages what is live,
// before and after it is renewed.
func TestFreshness(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s, other := open(t, url), open(t, url)
		const n = 30
		sampled := func(want int) {
			t.Helper()
			for _, s := range []*Storage{s, other} {
				for _, ns := range []string{"ns", ""} {
					require.Len(t, mustSample(t, s, ns), want)
				}
			}
		}
		for i := range n {
			mustAdd(t, s, lastingRecord("ns", i, 2*time.Second))
		}
		stale := time.Now().Add(2 * time.Second)
		mustAdd(t, s, lastingRecord("ns", n, -time.Second), testRecord("ns", n+1, time.Minute))
		sampled(n + 1)
		for _, r := range mustSample(t, other, "ns") {
			if r.Peer != testPeer(n+1) {
				require.Less(t, time.Until(r.Deadline), 2*time.Second, "the end of its freshness")
			}
		}
		var peers []peer.ID
		for i := range n / 2 {
			peers = append(peers, testPeer(i))
		}
		peers = append(peers, testPeer(n+1), testPeer(n+2))
		require.NoError(t, other.Renew(t.Context(), peers, time.Now().Add(time.Minute)))
		require.NoError(t, other.Renew(t.Context(), peers, time.Now().Add(time.Millisecond)), "it shortens nothing")
		sampled(n + 1)
		for range 2 { // at the end, and after all have left the arrays
			pause(t, time.Until(stale))
			sampled(n/2 + 1)
			require.Equal(t, n/2+1, freshIn(t, s, "ns"))
			got, _ := follow(t, other, "ns", usual, "", 1000)
			slices.Sort(got)
			require.Equal(t, numbers(0, n+2), got)
			stale = stale.Add(time.Second)
		}
		counts, err := other.Counts(t.Context())
		require.NoError(t, err)
		require.Equal(t, rendezvous.Counts{Registrations: n + 2, Namespaces: 1}, counts)

		// What has left the arrays comes back, by renewal and by a refresh.
		_, cursor := follow(t, s, "ns", usual, "", 1000)
		for i := range n + 1 {
			peers = append(peers, testPeer(i))
		}
		require.NoError(t, s.Renew(t.Context(), peers, time.Now().Add(time.Minute)))
		sampled(n + 2)
		got, _ := follow(t, s, "ns", usual, cursor, 1000)
		require.Empty(t, got, "a renewal does not change the order")
		mustAdd(t, s, testRecord("ns", 0, time.Minute), lastingRecord("ns", 1, -time.Second), lastingRecord("ns", n+1, time.Minute))
		sampled(n + 1)
		got, _ = follow(t, s, "ns", usual, cursor, 1000)
		require.Equal(t, []int{0, 1, n + 1}, got)
	})
}

// freshIn returns how many entries of a namespace's arrays are fresh, as the servers count them.
func freshIn(t *testing.T, s *Storage, ns string) (n int) {
	t.Helper()
	for _, sh := range s.shards {
		values, err := lengthScript.run(t.Context(), s.client, []string{sh.array(ns), sh.deadlines(ns)}, sh.prefix).AsIntSlice()
		require.NoError(t, err)
		n += int(values[2])
	}
	return n
}

// TestVanishedPeer checks that a peer that registered for two hours and vanished is in no sample
// 21 seconds later, also at a point that started after that, and still in all pages.
func TestVanishedPeer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s, other := open(t, url), open(t, url)
		mustAdd(t, s, lastingRecord("ns", 1, 20*time.Second))
		registered := time.Now()
		require.Len(t, mustSample(t, other, "ns"), 1)
		require.NoError(t, s.Close())
		pause(t, time.Until(registered.Add(21*time.Second)))
		for _, s := range []*Storage{other, open(t, url)} {
			require.Empty(t, mustSample(t, s, "ns"))
			require.Empty(t, mustSample(t, s, ""))
			got, _ := follow(t, s, "ns", usual, "", 10)
			require.Equal(t, []int{1}, got)
		}
	})
}

// TestKinds checks that samples have registrations of the usual kind only, pages those of one kind,
// and that there is one registration per namespace and peer whatever its kind.
func TestKinds(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s := open(t, url)
		ofKind := func(r rendezvous.Record, kind rendezvous.RecordKind) rendezvous.Record {
			r.Kind = kind
			return r
		}
		check := func(wantUsual, wantUnusual []int) {
			t.Helper()
			for kind, want := range map[rendezvous.RecordKind][]int{usual: wantUsual, unusual: wantUnusual} {
				for _, ns := range []string{"ns", ""} {
					got, _ := follow(t, s, ns, kind, "", 2)
					require.Equal(t, want, got)
				}
			}
			for _, ns := range []string{"ns", ""} {
				require.Len(t, mustSample(t, s, ns), len(wantUsual))
			}
			counts, err := s.Counts(t.Context())
			require.NoError(t, err)
			require.Equal(t, rendezvous.Counts{Registrations: len(wantUsual) + len(wantUnusual), Namespaces: 1}, counts)
		}
		_, _, err := s.Page(t.Context(), "", usual, "", 0, 0)
		require.NoError(t, err)
		mustAdd(t, s, testRecord("ns", 1, time.Minute), testRecord("ns", 2, time.Minute),
			ofKind(testRecord("ns", 3, time.Minute), unusual), ofKind(lastingRecord("ns", 4, time.Minute), unusual), lastingRecord("ns", 5, time.Minute))
		check([]int{1, 2, 5}, []int{3, 4})
		mustAdd(t, s, ofKind(testRecord("ns", 1, time.Minute), unusual), ofKind(lastingRecord("ns", 5, time.Minute), unusual))
		check([]int{2}, []int{3, 4, 1, 5})
		mustAdd(t, s, ofKind(testRecord("ns", 4, time.Minute), usual), ofKind(lastingRecord("ns", 3, time.Minute), usual))
		check([]int{2, 4, 3}, []int{1, 5})
		require.NoError(t, s.Renew(t.Context(), []peer.ID{testPeer(5)}, time.Now().Add(time.Minute)))
		check([]int{2, 4, 3}, []int{1, 5})
	})
}

// TestRemove checks that Remove ends the registrations of a peer, and that they count no more.
func TestRemove(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, url string) {
		t.Helper()
		s, other := open(t, url), open(t, url)
		const n = 250
		q := rendezvous.Quota{PerPeer: n, PerOrigin: n, Total: n}
		fill := func() {
			t.Helper()
			for i := range n {
				r := testRecord(fmt.Sprint("ns", i), 1, time.Minute)
				switch i % 4 {
				case 1:
					r.Fresh = time.Now().Add(time.Second)
				case 2:
					r.Fresh, r.Kind = time.Now().Add(-time.Second), usual
				case 3:
					r.Kind = unusual
				}
				r.Origin = testOrigin
				q := q
				q.Total = 0
				require.NoError(t, s.Add(t.Context(), r, q))
			}
		}
		fill()
		over := testRecord("over", 1, time.Minute)
		over.Origin = testOrigin
		require.ErrorIs(t, s.Add(t.Context(), over, q), rendezvous.ErrPeerLimit)
		require.NoError(t, other.Remove(t.Context(), "ns0", testPeer(1)))
		require.NoError(t, other.Remove(t.Context(), "ns0", testPeer(1)), "removing none is no error")
		require.NoError(t, other.Remove(t.Context(), "ns1", testPeer(2)))
		require.NoError(t, other.Remove(t.Context(), "", testPeer(2)))
		require.Empty(t, mustSample(t, s, "ns0"))
		require.NoError(t, s.Add(t.Context(), over, q))
		require.NoError(t, other.Remove(t.Context(), "", testPeer(1)))
		require.Empty(t, mustSample(t, s, ""))
		counts, err := other.Counts(t.Context())
		require.NoError(t, err)
		require.Zero(t, counts)
		fill()
		require.NoError(t, other.Remove(t.Context(), "", testPeer(1)))
		if len(s.shards) == 1 {
			over.Peer = testPeer(2)
			require.NoError(t, s.Add(t.Context(), over, rendezvous.Quota{Bytes: int64(len(over.Namespace) + len(over.Peer) + len(over.Envelope))}))
		}
	})
}

// TestPageBegins checks that the order has all registrations that were there, and those that are
// added, refreshed and removed meanwhile, also if the first Page is cancelled.
func TestPageBegins(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	const peers = 3000
	var want []int
	for i := range peers {
		r := testRecord("ns", i, time.Minute)
		if i%3 == 1 {
			r.Fresh = time.Now()
		}
		mustAdd(t, s, r)
	}
	step := func() bool {
		done, err := orderScript.run(t.Context(), s.client, []string{s.shards[0].index()}, s.shards[0].prefix, "7", number(orderBatch)).AsInt64()
		require.NoError(t, err)
		return done == 1
	}
	for i := 0; !step(); i++ {
		require.Less(t, i, peers)
		mustAdd(t, s, testRecord("ns", peers+i, time.Hour))
		mustAdd(t, s, testRecord("ns", peers-3-3*i, 30*time.Second))
		require.NoError(t, s.Remove(t.Context(), "ns", testPeer(i)))
		want = append(want, peers+i)
	}
	require.Greater(t, len(want), peers/orderBatch)
	want = append(want, numbers(len(want), peers)...)
	got, _ := follow(t, s, "ns", usual, "", 500)
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(t, want, got)
}
