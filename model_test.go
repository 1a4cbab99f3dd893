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

	"github.com/status-im/go-waku-rendezvous/internal/dbformat"
)

// model is the simplest implementation of a storage.
type model struct {
	records map[[2]string]Record
	places  map[[2]string]int // in the order
	next    int
}

func modelKey(r Record) [2]string { return [2]string{r.Namespace, string(r.Peer)} }

func isLasting(r Record) bool { return !r.Fresh.IsZero() && r.Fresh.Before(r.Deadline) }

func (m *model) add(r Record, q Quota) error {
	var old *Record
	ofPeer, total, lasting := 0, 0, 0
	bytes, lastingBytes := sizeOf(r), sizeOf(r)
	for _, o := range m.live("") {
		if modelKey(o) == modelKey(r) {
			old = &o
		}
		if o.Peer == r.Peer {
			ofPeer++
		}
		if isLasting(o) {
			lasting++
			lastingBytes += sizeOf(o)
		}
		total++
		bytes += sizeOf(o)
	}
	noneLeft := isLasting(r) && (old == nil || !isLasting(*old)) &&
		(q.Total > 0 && lasting >= max(1, q.Total/2) || q.Bytes > 0 && lastingBytes > q.Bytes/2)
	if old != nil && q.Bytes > 0 && q.Total > 0 && sizeOf(r) > max(q.Bytes/int64(q.Total), sizeOf(*old)) {
		lastingGrows := isLasting(r) && isLasting(*old) && lastingBytes-sizeOf(*old) > max(1, q.Bytes/2)
		noneLeft = noneLeft || lastingGrows || bytes-sizeOf(*old) > q.Bytes
	}
	room := m.hasRoom(r, q)
	switch {
	case old != nil && noneLeft:
		return ErrFull
	case old != nil:
		if !room {
			r.Origin = old.Origin
		}
	case q.PerPeer > 0 && ofPeer >= q.PerPeer:
		return ErrPeerLimit
	case !room:
		return ErrOriginLimit
	case noneLeft, q.Total > 0 && total >= q.Total, q.Bytes > 0 && bytes > q.Bytes:
		return ErrFull
	}
	m.next++
	m.records[modelKey(r)], m.places[modelKey(r)] = r, m.next
	return nil
}

func sizeOf(r Record) int64 { return int64(len(r.Namespace) + len(r.Peer) + len(r.Envelope)) }

// hasRoom reports whether r may count for its origin, beside the other records.
func (m *model) hasRoom(r Record, q Quota) bool {
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
			if modelKey(o) == modelKey(r) && network.Contains(o.Origin) {
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

// sampled returns what samples may contain, as they contain it.
func (m *model) sampled(ns string) []Record {
	var sampled []Record
	for _, r := range m.live(ns) {
		if isLasting(r) {
			r.Deadline = r.Fresh
		}
		if r.Deadline.After(time.Now()) && r.Kind == KindPeerRecord {
			sampled = append(sampled, r)
		}
	}
	return sampled
}

// after returns what comes after a place, in order.
func (m *model) after(ns string, kind RecordKind, place int) []Record {
	live := slices.DeleteFunc(m.live(ns), func(r Record) bool { return r.Kind != kind || m.places[modelKey(r)] <= place })
	slices.SortFunc(live, func(a, b Record) int { return m.places[modelKey(a)] - m.places[modelKey(b)] })
	return live
}

func (m *model) live(ns string) []Record {
	var live []Record
	for _, r := range m.records {
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
	f.Add([]byte("k\x00\x00a\x00\x40l\x14\x20l\x20\x20p\x00\x02r\x00\x00a\x00\x40p\x00\x02p\x00\x01s\x00\xffw\x00\x24s\x00\xffp\x04\x00"))
	f.Add([]byte("k\x00\x00q\x00\x04l\x00\x40l\x10\x40l\x20\x40a\x30\x40l\x30\x40d\x10\x00l\x20\x40r\x00\x00p\x00\x05d\x21\x01p\x08\x00"))
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

	m := &model{records: make(map[[2]string]Record), places: make(map[[2]string]int)}
	walkers := make(map[string]*modelWalker)
	storages := map[string]Storage{"memory": NewMemoryStorage(), "LevelDB": NewStorage(levelDBOver(t, db))}
	defer func() {
		for _, s := range storages {
			require.NoError(t, s.Close())
		}
	}()
	var q Quota
	var from netip.Addr
	ordered := len(steps) > 0 && steps[0] == 'k' // from the beginning, or else never
	if ordered {
		for _, s := range storages {
			_, _, err := pagerOf(t, s).Page(t.Context(), "", KindPeerRecord, "", 1, 0)
			require.NoError(t, err)
		}
	}
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
		case 'l':
			if !ordered {
				break
			}
			r := Record{Namespace: ns, Peer: p, Envelope: []byte{arg, what}, Kind: RecordKind(what >> 2 & 1), Origin: from}
			r.Deadline = time.Now().Add(time.Duration(arg) * time.Second / 4)
			r.Fresh = time.Now().Add(time.Duration(arg) * time.Second / 8)
			story = append(story, fmt.Sprintf("add lasting %q in %q for %v, kind %d", p, ns, time.Until(r.Deadline), r.Kind))
			want := m.add(r, q)
			for name, s := range storages {
				require.ErrorIs(t, s.Add(t.Context(), r, q), want, name)
			}
		case 'p':
			if !ordered {
				break
			}
			kind, n := RecordKind(what>>2&1), int(arg%8)
			if what&8 != 0 {
				ns = ""
			}
			story = append(story, fmt.Sprintf("page %d of %q, kind %d", n, ns, kind))
			for name, s := range storages {
				w := walkers[fmt.Sprint(name, ns, kind)]
				if w == nil {
					w = new(modelWalker)
					walkers[fmt.Sprint(name, ns, kind)] = w
				}
				w.page(t, name, pagerOf(t, s), m, ns, kind, n)
			}
		case 'd':
			if !ordered {
				break
			}
			if arg == 0 {
				ns = ""
			}
			story = append(story, fmt.Sprintf("remove %q in %q", p, ns))
			for name, s := range storages {
				require.NoError(t, pagerOf(t, s).Remove(t.Context(), ns, p), name)
			}
			for k, r := range m.records {
				if r.Peer == p && (ns == "" || ns == r.Namespace) {
					delete(m.records, k)
				}
			}
		case 's':
			story = append(story, fmt.Sprintf("sample %d of %q", arg, ns))
			for name, s := range storages {
				expectSample(t, name, s, m.sampled(ns), ns, int(arg))
				expectSample(t, name, s, m.sampled(""), "", int(arg))
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
			if ordered { // as Start does
				_, _, err := pagerOf(t, storages["LevelDB"]).Page(t.Context(), "", KindPeerRecord, "", 1, 0)
				require.NoError(t, err)
			}
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
	for it.Next() {
		require.True(t, ordered && string(it.Key()) == dbformat.OrderKey, "the database is empty again but for the order: %q", it.Key())
	}
}

func pagerOf(t *testing.T, s Storage) Pager {
	t.Helper()
	p, ok := s.(Pager)
	require.True(t, ok)
	return p
}

// modelWalker follows the cursors of a storage, and the places of the model.
type modelWalker struct {
	cursor Cursor
	place  int
}

func (w *modelWalker) page(t *testing.T, name string, s Pager, m *model, ns string, kind RecordKind, n int) {
	t.Helper()
	want := m.after(ns, kind, w.place)
	want = want[:min(n, len(want))]
	got, cursor, err := s.Page(t.Context(), ns, kind, w.cursor, n, 0)
	require.NoError(t, err, name)
	require.Len(t, got, len(want), "%s: %d of %q, kind %d", name, n, ns, kind)
	for i, r := range got {
		require.Equal(t, modelKey(want[i]), modelKey(r), name)
		require.Equal(t, want[i].Envelope, r.Envelope, name)
		require.True(t, want[i].Deadline.Equal(r.Deadline), name)
		w.place = m.places[modelKey(r)]
	}
	w.cursor = cursor
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
