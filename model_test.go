package rendezvous

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// model is the simplest implementation of a storage.
type model map[[2]string]Record

func (m model) add(r Record, q Quota) error {
	perPeer, total, bytes := 0, 0, sizeOf(r)
	var old *Record
	for _, o := range m.live("") {
		if o.Peer == r.Peer && o.Namespace == r.Namespace {
			old = &o
		}
		if o.Peer == r.Peer {
			perPeer++
		}
		total++
		bytes += sizeOf(o)
	}
	room := m.hasRoom(r, q)
	switch {
	case old != nil:
		if !room {
			r.Origin = old.Origin
		}
	case q.PerPeer > 0 && perPeer >= q.PerPeer:
		return ErrPeerLimit
	case !room:
		return ErrOriginLimit
	case q.Total > 0 && total >= q.Total, q.Bytes > 0 && bytes > q.Bytes:
		return ErrFull
	}
	m[[2]string{r.Namespace, string(r.Peer)}] = r
	return nil
}

func sizeOf(r Record) int64 { return int64(len(r.Namespace) + len(r.Peer) + len(r.Envelope)) }

// hasRoom reports whether r may count for its origin, beside the other records.
func (m model) hasRoom(r Record, q Quota) bool {
	if q.PerOrigin == 0 || !r.Origin.IsValid() {
		return true
	}
	widths := map[int]int{64: 1, 56: 4, 48: 16}
	if r.Origin.Is4() {
		widths = map[int]int{32: 1}
	}
	for bits, times := range widths {
		network, n := netip.PrefixFrom(r.Origin, bits).Masked(), 0
		for _, o := range m.live("") {
			same := o.Peer == r.Peer && o.Namespace == r.Namespace
			if same && network.Contains(o.Origin) {
				n = math.MinInt // it counts there already
			}
			if network.Contains(o.Origin) {
				n++
			}
		}
		if n >= q.PerOrigin*times {
			return false
		}
	}
	return true
}

// modelOrigins are addresses that share networks or do not.
var modelOrigins = []netip.Addr{
	{},
	netip.MustParseAddr("192.0.2.1"),
	netip.MustParseAddr("192.0.2.2"),
	netip.MustParseAddr("2001:db8::1"),
	netip.MustParseAddr("2001:db8:0:1::1"),
	netip.MustParseAddr("2001:db8:0:2::1"),
	netip.MustParseAddr("2001:db8:0:100::1"),
	netip.MustParseAddr("2001:db8:1::1"),
}

func (m model) live(ns string) []Record {
	var live []Record
	for _, r := range m {
		if r.Deadline.After(time.Now()) && (ns == "" || r.Namespace == ns) {
			live = append(live, r)
		}
	}
	return live
}

// FuzzStorages runs the same steps on the model, the memory storage and a storage over
// LevelDB, and compares the results. Each three bytes are a step.
func FuzzStorages(f *testing.F) {
	f.Add([]byte("a\x00\x00a\x11\x01s\x00\xffw\x00\x20s\x00\xff"))
	f.Add([]byte("a\x01\x05a\x01\x01a\x21\x09w\x00\x08r\x00\x00s\x01\x02c\x00\x00"))
	f.Add([]byte(strings.Repeat("a\x10\x02a\x21\x03a\x32\x04s\x00\x02w\x00\x01", 12)))
	f.Add([]byte("q\x01\x01a\x00\x04a\x10\x04a\x00\x08w\x00\x10a\x10\x04s\x00\x01"))
	f.Add([]byte("q\x00\x02a\x00\x00a\x10\x04a\x21\x04r\x00\x00a\x21\x04s\x00\x09"))
	f.Add([]byte("q\x08\x00o\x01\x00a\x00\xf0a\x10\xf0o\x02\x00a\x00\xf0r\x00\x00o\x01\x00a\x20\xf0a\x30\xf0"))
	f.Add([]byte("q\x08\x00o\x03\x00a\x00\xf0o\x04\x00a\x10\xf0o\x05\x00a\x20\xf0o\x06\x00a\x30\xf0r\x00\x00o\x03\x00a\x30\xf0a\x40\xf0"))
	f.Add([]byte("q\x00\x30a\x00\xf0a\x10\xf0a\x20\xf0w\x00\xffa\x00\xf4a\x00\xf1a\x20\xf0s\x00\x09"))
	f.Fuzz(func(t *testing.T, steps []byte) {
		const most = 3 * 200
		synctest.Test(t, func(t *testing.T) { play(t, steps[:min(len(steps), most)]) })
	})
}

func play(t *testing.T, steps []byte) {
	t.Helper()
	t.Cleanup(func() { time.Sleep(time.Minute) }) // LevelDB's goroutines end after its Close
	var story []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done:\n\t%s", strings.Join(story, "\n\t"))
		}
	})
	db, err := leveldb.Open(storage.NewMemStorage(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })

	m := make(model)
	storages := map[string]Storage{"memory": NewMemoryStorage(), "LevelDB": NewStorage(levelDBOver(t, db))}
	defer func() {
		for _, s := range storages {
			require.NoError(t, s.Close())
		}
	}()
	var q Quota
	var from netip.Addr
	for step := range slices.Chunk(steps, 3) {
		if len(step) < 3 {
			break
		}
		op, what, arg := step[0], step[1], step[2]
		ns := "ns" + strings.Repeat("\x00", int(what&3))
		p := peer.ID(fmt.Sprint("peer", what>>4))
		switch op {
		case 'a':
			envelope := bytes.Repeat([]byte{arg, what}, 1+int(arg%5))
			r := Record{Namespace: ns, Peer: p, Envelope: envelope, Deadline: time.Now().Add(time.Duration(arg) * time.Second / 4), Origin: from}
			story = append(story, fmt.Sprintf("add %q in %q for %v", p, ns, time.Until(r.Deadline)))
			want := m.add(r, q)
			for name, s := range storages {
				require.ErrorIs(t, s.Add(t.Context(), r, q), want, name)
			}
		case 's':
			story = append(story, fmt.Sprintf("sample %d of %q", arg, ns))
			for name, s := range storages {
				expectSample(t, name, s, m.live(ns), ns, int(arg))
				expectSample(t, name, s, m.live(""), "", int(arg))
			}
		case 'w':
			wait := time.Duration(arg) * time.Second / 8
			story = append(story, fmt.Sprintf("wait %v", wait))
			time.Sleep(wait)
		case 'q':
			q = Quota{PerPeer: int(what % 8), PerOrigin: int(what / 8 % 4), Total: int(arg % 16), Bytes: 20 * int64(arg/16)}
			story = append(story, fmt.Sprintf("quota %+v", q))
		case 'o':
			from = modelOrigins[int(what)%len(modelOrigins)]
			story = append(story, fmt.Sprintf("origin %v", from))
		case 'r':
			story = append(story, "close and open LevelDB")
			require.NoError(t, storages["LevelDB"].Close())
			storages["LevelDB"] = NewStorage(levelDBOver(t, db))
		case 'c':
			story = append(story, "wait and count")
			time.Sleep(2 * time.Second)
			for name, s := range storages {
				c, err := s.Counts(t.Context())
				require.NoError(t, err)
				require.LessOrEqual(t, len(m.live("")), c.Registrations, name)
			}
		}
	}
	story = append(story, "wait for all to end")
	time.Sleep(70 * time.Second)
	synctest.Wait()
	for name, s := range storages {
		c, err := s.Counts(t.Context())
		require.NoError(t, err)
		require.Zero(t, c, name)
	}
	it := db.NewIterator(nil, nil)
	defer it.Release()
	require.False(t, it.Next(), "the database is empty again")
}

// expectSample checks that a sample is n of the live records, or all.
func expectSample(t *testing.T, name string, s Storage, live []Record, ns string, n int) {
	t.Helper()
	got, err := s.Sample(t.Context(), ns, n, 0)
	require.NoError(t, err, name)
	require.Len(t, got, min(n, len(live)), "%s: %d of %q", name, n, ns)
	for _, r := range got {
		at := slices.IndexFunc(live, func(o Record) bool { return o.Namespace == r.Namespace && o.Peer == r.Peer })
		require.GreaterOrEqual(t, at, 0, "%s: %q in %q should not be there", name, r.Peer, r.Namespace)
		require.Equal(t, live[at].Envelope, r.Envelope, name)
		require.True(t, live[at].Deadline.Equal(r.Deadline), name)
		live = slices.Delete(live, at, at+1) // no registration occurs twice
	}
}
