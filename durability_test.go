package rendezvous

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/dbformat"
)

// durabilityChild is an environment variable. With it, the test binary registers into the
// database that it names until the process is killed.
const durabilityChild = "RENDEZVOUS_TEST_REGISTER_INTO"

// registerUntilKilled registers ten peers again and again, seven of them for long and the
// others for a moment. It prints each acknowledged registration: the peer, and the content
// of its envelope, which is a version and the deadline on the wall clock.
func registerUntilKilled(path string) {
	db, err := OpenLevelDB(path)
	if err != nil {
		panic(err)
	}
	s := NewStorage(db)
	for version := time.Now().UnixNano(); ; version++ {
		ttl := time.Minute
		if version%10 >= 7 {
			ttl = 20 * time.Millisecond
		}
		deadline := time.Now().Add(ttl)
		r := Record{
			Namespace: "ns",
			Peer:      peer.ID(fmt.Sprint("peer", version%10)),
			Envelope:  fmt.Append(nil, version, deadline.UnixNano()),
			Deadline:  deadline,
		}
		if err := s.Add(context.Background(), r, Quota{}); err != nil {
			panic(err)
		}
		fmt.Printf("%s %s\n", string(r.Peer), r.Envelope)
	}
}

type acknowledgement struct {
	version  int64
	deadline time.Time
}

// Acknowledged registrations survive a kill -9 until their deadline, and no longer.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	acknowledged := make(map[peer.ID]acknowledgement)
	total := 0
	for range 50 {
		total += registerAndKill(t, path, acknowledged)
		expectAcknowledged(t, path, acknowledged)
	}
	t.Logf("%d acknowledgements in 50 lives", total)
}

// registerAndKill kills a registering process at a random moment after its first
// acknowledgement and returns all acknowledged registrations.
func registerAndKill(t *testing.T, path string, acknowledged map[peer.ID]acknowledgement) int {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), durabilityChild+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	n, last := 0, 1+rand.IntN(300)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p, envelope, _ := strings.Cut(lines.Text(), " ")
		acknowledged[peer.ID(p)] = parseAcknowledgement(t, envelope)
		if n++; n == last {
			require.NoError(t, child.Process.Kill()) // the loop still reads the output from before
		}
	}
	require.Error(t, child.Wait(), "the child was killed")
	require.GreaterOrEqual(t, n, last)
	return n
}

func parseAcknowledgement(t *testing.T, envelope string) acknowledgement {
	t.Helper()
	var a acknowledgement
	var deadline int64
	_, err := fmt.Sscan(envelope, &a.version, &deadline)
	require.NoError(t, err, "reading %q", envelope)
	a.deadline = time.Unix(0, deadline)
	return a
}

func expectAcknowledged(t *testing.T, path string, acknowledged map[peer.ID]acknowledgement) {
	t.Helper()
	db, err := OpenLevelDB(path)
	require.NoError(t, err)
	s := NewStorage(db)
	before := time.Now()
	got, err := s.Sample(t.Context(), "ns", 100, 0)
	require.NoError(t, err)
	after := time.Now()
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())

	there := make(map[peer.ID]acknowledgement)
	for _, r := range got {
		a := parseAcknowledgement(t, string(r.Envelope))
		require.True(t, a.deadline.After(before), "%s is served after its deadline", r.Peer)
		require.WithinDuration(t, a.deadline, r.Deadline, time.Second)
		there[r.Peer] = a
	}
	// The process may have died between storing a registration and acknowledging it. One
	// registration may be newer than its last acknowledgement.
	for p, a := range acknowledged {
		if a.deadline.After(after) {
			require.GreaterOrEqual(t, there[p].version, a.version, "%s was acknowledged and is lost", p)
		}
	}
}

// openPager returns a storage over db, which is not closed before another one is opened, as
// if the process were killed.
func openPager(t *testing.T, db DB) Pager {
	t.Helper()
	s := newDurableStorage(db, time.Now)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// addPeers adds peers that stay for an hour.
func addPeers(t *testing.T, s Storage, peers ...string) {
	t.Helper()
	for _, p := range peers {
		require.NoError(t, s.Add(t.Context(), testRecord("ns", p, time.Hour), Quota{}))
	}
}

// following returns the peers after a cursor, and the cursor at their end.
func following(t *testing.T, s Pager, after Cursor) (peers []string, end Cursor) {
	t.Helper()
	records, end, err := s.Page(t.Context(), "ns", KindPeerRecord, after, 100_000, 0)
	require.NoError(t, err)
	for _, r := range records {
		peers = append(peers, string(r.Peer))
	}
	return peers, end
}

// No place in the order is used twice, whenever the process is killed, and the mark that
// ensures that is seldom written.
func TestPlacesAreReservedBeforeTheyAreUsed(t *testing.T) {
	db := newFaultyDB()
	marks := 0
	db.put = func(key []byte) error {
		if string(key) == dbformat.OrderKey {
			marks++
		}
		return nil
	}
	s := openPager(t, db)
	peers, cursor := following(t, s, "")
	require.Empty(t, peers)
	for life := range 20 {
		for i := range 3 {
			p := fmt.Sprint(life, " ", i)
			addPeers(t, s, p)
			s = openPager(t, db)
			addPeers(t, s, "again")
			peers, cursor = following(t, s, cursor)
			require.Equal(t, []string{p, "again"}, peers)
		}
	}
	require.Equal(t, 1+20*3, marks, "once in each life")
	for range 3 * reserveStep {
		addPeers(t, s, "again")
	}
	require.Equal(t, 1+20*3+3, marks, "and once for many places")
	peers, _ = following(t, s, cursor)
	require.Equal(t, []string{"again"}, peers)
}

// If the database does not take the mark, nobody gets a place or a cursor.
func TestPlacesThatCannotBeReserved(t *testing.T) {
	captureLog(t)
	db := newFaultyDB()
	s := openPager(t, db)
	addPeers(t, s, "a")
	db.set(func() { db.put = func([]byte) error { return errDiskFull } })
	for range 2 {
		_, _, err := s.Page(t.Context(), "ns", KindPeerRecord, "", 1, 0)
		require.ErrorIs(t, err, errDiskFull)
	}
	lasting := testRecord("ns", "b", time.Hour)
	lasting.Fresh = time.Now().Add(time.Minute)
	require.ErrorIs(t, s.Add(t.Context(), lasting, Quota{}), errDiskFull)
	db.set(func() { db.put = nil })
	peers, cursor := following(t, s, "")
	require.Equal(t, []string{"a"}, peers)
	require.NoError(t, s.Add(t.Context(), lasting, Quota{}))
	peers, _ = following(t, openPager(t, db), cursor)
	require.Subset(t, peers, []string{"b"})
}

// What was registered before the order began may come twice after a restart, and is never
// skipped.
func TestOrderThatBeginsLate(t *testing.T) {
	db := newFaultyDB()
	addPeers(t, openPager(t, db), "a", "b", "c")
	require.NotContains(t, db.entries, dbformat.OrderKey, "the order is not paid for before a page")
	s := openPager(t, db)
	peers, end := following(t, s, "")
	require.ElementsMatch(t, []string{"a", "b", "c"}, peers)
	addPeers(t, s, "b", "d")
	_, middle, err := s.Page(t.Context(), "ns", KindPeerRecord, "", 1, 0)
	require.NoError(t, err)
	for range 3 {
		s = openPager(t, db)
		addPeers(t, s, "e")
		peers, _ = following(t, s, end)
		require.Subset(t, peers, []string{"b", "d", "e"})
		rest, _ := following(t, s, middle)
		require.Subset(t, rest, []string{"b", "d", "e"})
	}
}

// With a damaged order, cursors begin anew, and the log says so.
func TestDamagedOrder(t *testing.T) {
	logged := captureLog(t)
	db := newFaultyDB()
	addPeers(t, openPager(t, db), "0") // before there is an order
	s := openPager(t, db)
	_, _ = following(t, s, "")
	addPeers(t, s, "a", "b", "c")
	_, old := following(t, s, "")
	db.entries[dbformat.OrderKey][3] ^= 1
	require.Empty(t, logged)

	s = openPager(t, db)
	require.Contains(t, logged.String(), "order of registrations in the database is unreadable")
	peers, cursor := following(t, s, old)
	require.ElementsMatch(t, []string{"0", "a", "b", "c"}, peers)
	_, first, err := s.Page(t.Context(), "ns", KindPeerRecord, "", 1, 0)
	require.NoError(t, err)
	addPeers(t, s, "d", "a")
	for range 3 { // the places from before the damage mean nothing in the new order
		s = openPager(t, db)
		peers, _ = following(t, s, cursor)
		require.Subset(t, peers, []string{"d", "a"})
		peers, _ = following(t, s, old)
		require.ElementsMatch(t, []string{"0", "a", "b", "c", "d"}, peers)
		rest, _ := following(t, s, first)
		require.Subset(t, rest, []string{"a", "b", "c", "d"})
	}
}

// Remove changes nothing if the database does not delete.
func TestRemoveThatFails(t *testing.T) {
	captureLog(t)
	db := newFaultyDB()
	s := openPager(t, db)
	addPeers(t, s, "a", "b")
	db.set(func() { db.delete = func([]byte) error { return errDiskFull } })
	require.ErrorIs(t, s.Remove(t.Context(), "", "a"), errDiskFull)
	require.NoError(t, s.Remove(t.Context(), "", "unknown"), "nothing to delete")
	peers, _ := following(t, s, "")
	require.ElementsMatch(t, []string{"a", "b"}, peers)
	db.set(func() { db.delete = nil })
	require.NoError(t, s.Remove(t.Context(), "ns", "a"))
	require.Len(t, db.records(), 1)
	peers, _ = following(t, openPager(t, db), "")
	require.Equal(t, []string{"b"}, peers)
}

// closingContext is a context that closes a storage when the storage looks at it.
type closingContext struct {
	context.Context
	closeStorage func()
}

func (c closingContext) Err() error {
	c.closeStorage()
	return nil
}

// TestCloseDuringCalls: a call that finds the storage open, and gets the lock only after it was
// closed, returns ErrClosed.
func TestCloseDuringCalls(t *testing.T) {
	for name, call := range map[string]func(context.Context, *durableStorage) error{
		"Add": func(ctx context.Context, s *durableStorage) error {
			return s.Add(ctx, Record{Namespace: "n", Peer: "p", Deadline: time.Now().Add(time.Minute)}, Quota{})
		},
		"Page": func(ctx context.Context, s *durableStorage) error {
			_, _, err := s.Page(ctx, "n", KindPeerRecord, "", 10, 1000)
			return err
		},
		"Remove": func(ctx context.Context, s *durableStorage) error { return s.Remove(ctx, "n", "p") },
		"lock":   func(ctx context.Context, s *durableStorage) error { return s.lock(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the lock and the end of the storage are both at hand: select takes either
				s := newDurableStorage(newFaultyDB(), time.Now)
				ctx := closingContext{t.Context(), func() { _ = s.Close() }}
				require.ErrorIs(t, call(ctx, s), ErrClosed)
				require.NoError(t, s.Close(), "nothing is left locked")
			}
		})
	}
}
