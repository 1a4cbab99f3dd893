package points

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

const ttl = 20 * time.Second

// clocked returns sightings by a clock that the test moves.
func clocked() (s *Sightings, now *time.Time) {
	at := someTime
	s = newSightings()
	s.now = func() time.Time { return at }
	return s, &at
}

func (s *Sightings) say(ns string, point peer.ID, id peer.ID, seq uint64, until time.Time) Sighting {
	seen := []Sighting{{Peer: peer.AddrInfo{ID: id}, Seq: seq, Until: until}}
	s.Record(ns, point, seen)
	return seen[0]
}

// TestSightingsAgree on the newest record that a point has, until the last registration
// of the peer ends.
func TestSightingsAgree(t *testing.T) {
	s, now := clocked()
	require.Zero(t, s.Version("n"))
	require.Empty(t, s.Live("n", 0))
	require.True(t, s.NextExpiry("n").IsZero())

	s.say("n", "one", "peer", 2, now.Add(ttl))
	first := s.Version("n")
	require.NotZero(t, first)
	newest := s.say("n", "other", "peer", 1, now.Add(2*ttl))
	require.Equal(t, Sighting{Peer: peer.AddrInfo{ID: "peer"}, Seq: 2, Until: now.Add(2 * ttl)}, newest)
	require.Equal(t, []Sighting{newest}, s.Live("n", 0))
	require.Equal(t, first, s.Version("n"), "nothing new")
	require.Equal(t, now.Add(ttl), s.NextExpiry("n"))
	require.Empty(t, s.Live("another", 0))

	*now = now.Add(ttl)
	require.EqualValues(t, 1, s.Live("n", 0)[0].Seq, "which is all that is said now")
	second := s.Version("n")
	require.NotEqual(t, first, second)
	*now = now.Add(ttl)
	require.Empty(t, s.Live("n", 0))
	require.Zero(t, s.Version("n"))
	require.Empty(t, s.namespaces)
	require.Empty(t, s.shares)

	s.say("n", "one", "peer", 2, now.Add(ttl))
	require.NotContains(t, []uint64{0, first, second}, s.Version("n"))
}

// TestSightingsClockSetBack: a peer that restarts with its clock set back has a lower
// sequence number, and is known at its new address at once.
func TestSightingsClockSetBack(t *testing.T) {
	s, now := clocked()
	s.say("n", "point", "peer", 100, now.Add(ttl))
	before := s.Version("n")
	require.EqualValues(t, 50, s.say("n", "point", "peer", 50, now.Add(ttl)).Seq)
	require.EqualValues(t, 50, s.Live("n", 0)[0].Seq)
	require.NotEqual(t, before, s.Version("n"))
}

// TestSightingsOfDifferentRecords: points differ about a peer. Its clock may have been set
// back, or one of them may repeat an old record for ever, so it is handed out with
// addresses of each record. No record can displace the others.
func TestSightingsOfDifferentRecords(t *testing.T) {
	s, now := clocked()
	record := func(ip string, n int) (addrs []ma.Multiaddr) {
		for i := range n {
			addrs = append(addrs, ma.StringCast(fmt.Sprintf("/ip4/%s/tcp/%d", ip, 1+i)))
		}
		return addrs
	}
	say := func(point peer.ID, seq uint64, addrs []ma.Multiaddr) []ma.Multiaddr {
		seen := []Sighting{{Peer: peer.AddrInfo{ID: "peer", Addrs: addrs}, Seq: seq, Until: now.Add(ttl)}}
		s.Record("n", point, seen)
		require.Equal(t, seen, s.Live("n", 0))
		return seen[0].Peer.Addrs
	}
	dead, alive := record("1.1.1.1", 16), record("2.2.2.2", 2)
	require.Equal(t, dead, say("honest", 100, dead))
	require.Equal(t, dead, say("hostile", 100, dead))
	before := s.Version("n")
	both := say("honest", 50, alive) // the clock was set back; the hostile point goes on
	require.NotEqual(t, before, s.Version("n"))
	require.Len(t, both, 16)
	require.Equal(t, []ma.Multiaddr{dead[0], alive[0], dead[1], alive[1]}, both[:4])
	require.Equal(t, alive, say("hostile", 50, alive), "they agree again")

	moved := record("3.3.3.3", 1)
	require.Contains(t, say("honest", 200, moved), moved[0], "the hostile point repeats the old record")
	*now = now.Add(ttl)
	require.Equal(t, moved, say("honest", 200, moved), "until it ends")
}

// TestSightingsOfOneRecord: points show different parts of the same record, because one of them
// is in the host's own network and the other is not. All that is shown is handed out,
// whichever point was asked last and whatever their IDs are.
func TestSightingsOfOneRecord(t *testing.T) {
	public, private := ma.StringCast("/ip4/1.1.1.1/tcp/1"), ma.StringCast("/ip4/10.0.0.7/tcp/1")
	for _, row := range []struct {
		name string
		all  []ma.Multiaddr
		far  int // how many of them the point outside shows
	}{
		{"private addresses only", []ma.Multiaddr{private}, 0},
		{"a public one as well", []ma.Multiaddr{public, private}, 1},
	} {
		for _, order := range [][]peer.ID{{"a", "b"}, {"b", "a"}} {
			t.Run(fmt.Sprint(row.name, order), func(t *testing.T) {
				near, far := order[0], order[1]
				for _, nearFirst := range []bool{true, false} {
					s, now := clocked()
					say := func(point peer.ID, addrs []ma.Multiaddr) Sighting {
						seen := []Sighting{{Peer: peer.AddrInfo{ID: "peer", Addrs: addrs}, Seq: 7, Until: now.Add(ttl)}}
						s.Record("n", point, seen)
						return seen[0]
					}
					if nearFirst {
						say(near, row.all)
						before := s.Version("n")
						require.Equal(t, row.all, say(far, row.all[:row.far]).Peer.Addrs)
						require.Equal(t, before, s.Version("n"), "nothing new")
					} else {
						say(far, row.all[:row.far])
						before := s.Version("n")
						require.Equal(t, row.all, say(near, row.all).Peer.Addrs)
						require.NotEqual(t, before, s.Version("n"))
					}
					require.Equal(t, row.all, s.Live("n", 0)[0].Peer.Addrs)
					require.Equal(t, row.all, s.ReportedBy("n", far)[0].Peer.Addrs)
				}
			})
		}
	}
}

// TestSightingsNewestWord: what a point says last counts, also if the record has the same
// sequence number. The connection to the point may be over another network now, or the peer has
// signed two records with one number.
func TestSightingsNewestWord(t *testing.T) {
	s, now := clocked()
	addrs := []ma.Multiaddr{ma.StringCast("/ip4/1.1.1.1/tcp/1"), ma.StringCast("/ip4/10.0.0.7/tcp/1")}
	other := []ma.Multiaddr{ma.StringCast("/ip4/2.2.2.2/tcp/1")}
	version := s.Version("n")
	for _, shown := range [][]ma.Multiaddr{nil, addrs, addrs[:1], other, addrs, nil} {
		for range 2 { // the second time it is only renewed
			*now = now.Add(ttl / 4)
			seen := []Sighting{{Peer: peer.AddrInfo{ID: "peer", Addrs: slices.Clone(shown)}, Seq: 7, Until: now.Add(ttl)}}
			s.Record("n", "point", seen)
			require.Equal(t, seen, s.Live("n", 0))
			require.Equal(t, shown, seen[0].Peer.Addrs)
			require.Equal(t, now.Add(ttl), s.NextExpiry("n"))
			require.Equal(t, memoryOf(seen[0]), s.shares["point"].memory)
		}
		require.NotEqual(t, version, s.Version("n"))
		version = s.Version("n")
		seen := []Sighting{{Peer: peer.AddrInfo{ID: "peer", Addrs: slices.Clone(shown)}, Seq: 7, Until: now.Add(ttl)}}
		s.Record("n", "point", seen)
		require.Equal(t, version, s.Version("n"), "nothing new")
	}
}

// TestSightingsAreBounded in bytes for each point, so that a point that makes peers up
// fills its own share and no other.
func TestSightingsAreBounded(t *testing.T) {
	s, now := clocked()
	var addrs []ma.Multiaddr
	for i := range 16 {
		addrs = append(addrs, ma.StringCast(fmt.Sprintf("/dns/%s%d.example/tcp/4001", strings.Repeat("a", 100), i)))
	}
	size := memoryOf(Sighting{Peer: peer.AddrInfo{Addrs: addrs}})
	require.Greater(t, size, 16*100)
	madeUp := make([]Sighting, 2*maxShare/size)
	for i := range madeUp {
		id := peer.ID(fmt.Sprintf("made up %d", i))
		madeUp[i] = Sighting{Peer: peer.AddrInfo{ID: id, Addrs: addrs}, Seq: 1, Until: now.Add(ttl)}
	}
	s.Record("n", "hostile", madeUp)
	s.Record("m", "hostile", madeUp)
	live, other := len(s.Live("n", 0)), len(s.Live("m", 0))
	require.LessOrEqual(t, (live+other)*size, maxShare, "the share is for all namespaces together")
	require.Greater(t, (live+other+1)*size, maxShare)
	require.InEpsilon(t, live, other, 0.3)
	require.True(t, s.LeftOut("hostile"))
	require.False(t, s.LeftOut("honest"))

	s.say("n", "honest", "peer", 1, now.Add(ttl))
	require.Len(t, s.Live("n", 0), live+1)

	*now = now.Add(ttl)
	s.Record("m", "hostile", madeUp[:1])
	require.Empty(t, s.Live("m", 0))
	require.Empty(t, s.shares, "what has expired is forgotten in all namespaces")
	require.Empty(t, s.namespaces)
}

// TestSightingsOfPassingPoints: however many points return registrations of days and vanish,
// they take a bounded memory, and leave an honest point its part of what is handed out.
func TestSightingsOfPassingPoints(t *testing.T) {
	s, now := clocked()
	until := now.Add(72 * time.Hour)
	madeUp := make([]Sighting, 1000)
	for i := range madeUp {
		addrs := make([]ma.Multiaddr, maxAddrs)
		for j := range addrs {
			addrs[j] = ma.StringCast(fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", j+1))
		}
		madeUp[i] = Sighting{Peer: peer.AddrInfo{ID: peer.ID(fmt.Sprint("made up ", i)), Addrs: addrs}, Seq: 1, Until: until}
	}
	for i := range 100 {
		*now = now.Add(time.Minute)
		passing := peer.ID(fmt.Sprint("passing ", i))
		s.Record("n", passing, slices.Clone(madeUp[:50]))
		s.Record(fmt.Sprint("other ", i), passing, slices.Clone(madeUp))
		for j := range 20 {
			s.say("n", "honest", peer.ID(fmt.Sprint("peer ", j)), 1, until)
		}
		memory := 0
		for _, share := range s.shares {
			memory += share.memory
		}
		require.Equal(t, memory, s.memory)
		require.LessOrEqual(t, memory, maxMemory)
		require.LessOrEqual(t, len(s.namespaces["n"].reports), maxSpeaking)
	}
	require.Len(t, s.ReportedBy("n", "honest"), 20)
	honest := 0
	for _, one := range s.Live("n", 50) {
		if strings.HasPrefix(string(one.Peer.ID), "peer ") {
			honest++
		}
	}
	require.GreaterOrEqual(t, honest, 50/maxSpeaking)
	s.Record("n", "passing 99", slices.Clone(madeUp[:50]))
	*now = until
	require.Empty(t, s.Live("n", 0))
	s.Record("n", "point", nil)
	require.Empty(t, s.namespaces)
	require.Zero(t, s.memory)
	require.Empty(t, s.shares)
}

// TestSightingsTooLarge: what a point says now does not fit, and what it said before is
// not true any more.
func TestSightingsTooLarge(t *testing.T) {
	s, now := clocked()
	s.say("n", "point", "peer", 1, now.Add(ttl))
	addrs := slices.Repeat([]ma.Multiaddr{ma.StringCast("/ip4/1.2.3.4/tcp/5")}, maxShare/64)
	seen := []Sighting{{Peer: peer.AddrInfo{ID: "peer", Addrs: addrs}, Seq: 2, Until: now.Add(ttl)}}
	s.Record("n", "point", seen)
	require.EqualValues(t, 2, seen[0].Seq)
	require.Empty(t, s.Live("n", 0))
}

// TestSightingsOfCrowd: at a point with more peers than fit, those that registered first and those
// with long records do not keep the others out, and the same peers stay, whatever the order.
func TestSightingsOfCrowd(t *testing.T) {
	s, now := clocked()
	say := func(name string, n, addrs int) {
		for i := range n {
			one := Sighting{Peer: peer.AddrInfo{ID: peer.ID(fmt.Sprint(name, i))}, Seq: 1, Until: now.Add(ttl)}
			for port := range addrs {
				one.Peer.Addrs = append(one.Peer.Addrs, ma.StringCast(fmt.Sprintf("/ip4/1.2.3.4/tcp/%d", 1+port)))
			}
			s.Record("n", "point", []Sighting{one})
		}
	}
	found := func(name string) (ids []string) {
		for _, one := range s.Live("n", 0) {
			if strings.HasPrefix(string(one.Peer.ID), name) {
				ids = append(ids, string(one.Peer.ID))
			}
		}
		slices.Sort(ids)
		return ids
	}
	say("heavy", 1500, maxAddrs)
	require.Less(t, len(found("heavy")), 1500)
	say("light", 200, 1)
	require.Greater(t, len(found("light")), 180)
	say("usual", 200, 5)
	require.Greater(t, len(found("usual")), 120)
	require.Greater(t, len(found("heavy")), 300)
	light := found("light")
	say("heavy", 1500, maxAddrs)
	say("light", 200, 1)
	gone := slices.DeleteFunc(light, func(id string) bool { return slices.Contains(found("light"), id) })
	require.LessOrEqual(t, len(gone), 1)
	require.LessOrEqual(t, s.memory, maxShare)
}

// TestSightingsAreShared: each point has an equal part of what is handed out, however
// many peers it knows.
func TestSightingsAreShared(t *testing.T) {
	s, now := clocked()
	for i := range 1000 {
		s.say("n", "hostile", peer.ID(fmt.Sprintf("made up %d", i)), 1, now.Add(ttl))
	}
	for i := range 10 {
		s.say("n", "honest", peer.ID(fmt.Sprintf("peer %d", i)), 1, now.Add(ttl))
	}
	for _, most := range []int{2, 10, 20, 50} {
		live := s.Live("n", most)
		require.Len(t, live, most)
		honest := 0
		for _, sighting := range live {
			if strings.HasPrefix(string(sighting.Peer.ID), "peer") {
				honest++
			}
		}
		require.Equal(t, min(10, most/2), honest)
	}
	require.Len(t, s.Live("n", 0), 1010)
}

// said is what a point says, in the model: a list, where Sightings has maps.
type said struct {
	ns    string
	point peer.ID
	Sighting
}

// model is Sightings with the plainest means.
type model struct{ all []said }

func (m *model) record(ns string, point peer.ID, seen Sighting, now time.Time) {
	m.expire(now)
	m.all = slices.DeleteFunc(m.all, func(s said) bool { return s.ns == ns && s.point == point && s.Peer.ID == seen.Peer.ID })
	m.all = append(m.all, said{ns, point, seen})
}

func (m *model) expire(now time.Time) {
	m.all = slices.DeleteFunc(m.all, func(s said) bool { return !now.Before(s.Until) })
}

// live returns what is said of each peer.
func (m *model) live(ns string, now time.Time) map[peer.ID]Sighting {
	m.expire(now)
	live := make(map[peer.ID]Sighting)
	for _, s := range m.all {
		if s.ns != ns {
			continue
		}
		newest, known := live[s.Peer.ID]
		if !known {
			newest = s.Sighting
		}
		newest.Seq = max(newest.Seq, s.Seq)
		if s.Until.After(newest.Until) {
			newest.Until = s.Until
		}
		live[s.Peer.ID] = newest
	}
	for id, newest := range live {
		newest.Peer.Addrs = m.addrs(ns, id)
		live[id] = newest
	}
	return live
}

// addrs returns the addresses of a peer that points say, in turn.
func (m *model) addrs(ns string, id peer.ID) (addrs []ma.Multiaddr) {
	all := slices.DeleteFunc(slices.Clone(m.all), func(s said) bool { return s.ns != ns || s.Peer.ID != id })
	slices.SortFunc(all, func(a, b said) int {
		return cmp.Or(cmp.Compare(b.Seq, a.Seq), cmp.Compare(a.point, b.point))
	})
	for i := range maxAddrs {
		for _, s := range all {
			if i < len(s.Peer.Addrs) && len(addrs) < maxAddrs && !slices.ContainsFunc(addrs, s.Peer.Addrs[i].Equal) {
				addrs = append(addrs, s.Peer.Addrs[i])
			}
		}
	}
	return addrs
}

func (m *model) next(ns string) (next time.Time) {
	for _, s := range m.all {
		if s.ns == ns && (next.IsZero() || s.Until.Before(next)) {
			next = s.Until
		}
	}
	return next
}

// shown has the addresses of two records for each of four sequence numbers. Points show the
// first few of them, or none.
var shown = func() (all [4][2][]ma.Multiaddr) {
	for seq := range all {
		for record := range all[seq] {
			for port := range 8 {
				all[seq][record] = append(all[seq][record], ma.StringCast(fmt.Sprintf("/ip4/1.1.%d.%d/tcp/%d", seq, record, 1+port)))
			}
		}
	}
	return all
}()

// play does what the script says with Sightings and the model, and compares them.
func play(t *testing.T, script []byte) {
	t.Helper()
	s, now := clocked()
	m := new(model)
	versions := make(map[string]uint64)
	contents := map[string]map[peer.ID]string{"a": {}, "b": {}} // sequence numbers and addresses
	for ; len(script) >= 4; script = script[4:] {
		ns := string('a' + rune(script[0]%2))
		point := peer.ID('A' + rune(script[0]/2%4))
		id := peer.ID('0' + rune(script[1]%8))
		seen := Sighting{Peer: peer.AddrInfo{ID: id}, Seq: uint64(script[2] % 4), Until: now.Add((1 + time.Duration(script[3])) * time.Second / 8)}
		if n := script[1] / 16 % 8; n > 0 {
			seen.Peer.Addrs = shown[seen.Seq][script[1]/128][:n]
		}
		m.record(ns, point, seen, *now)
		newest := []Sighting{seen}
		s.Record(ns, point, newest)
		if want, lives := m.live(ns, *now)[id]; lives {
			require.Equal(t, want, newest[0])
		}
		*now = now.Add(time.Duration(script[2]/4) * time.Second / 8)
		for _, ns := range []string{"a", "b"} {
			want := m.live(ns, *now)
			got := make(map[peer.ID]Sighting)
			content := make(map[peer.ID]string)
			for _, sighting := range s.Live(ns, 0) {
				require.NotContains(t, got, sighting.Peer.ID)
				got[sighting.Peer.ID] = sighting
				content[sighting.Peer.ID] = fmt.Sprint(sighting.Seq, sighting.Peer.Addrs)
			}
			require.Equal(t, want, got)
			require.Len(t, s.Live(ns, 3), min(3, len(want)))
			require.Equal(t, m.next(ns), s.NextExpiry(ns))
			version := s.Version(ns)
			require.Equal(t, len(want) == 0, version == 0)
			if version == versions[ns] {
				require.Equal(t, contents[ns], content)
			}
			versions[ns], contents[ns] = version, content
		}
	}
	*now = now.Add(time.Minute)
	require.Empty(t, s.Live("a", 0))
	require.Empty(t, s.Live("b", 0))
	require.Empty(t, s.namespaces)
	require.Empty(t, s.shares)
}

// TestSightingsModel compares with a model that is a plain list.
func TestSightingsModel(t *testing.T) {
	for seed := range byte(50) {
		script := make([]byte, 2000)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(script)
		play(t, script)
	}
}

// FuzzSightings compares with the model, too.
func FuzzSightings(f *testing.F) {
	f.Add([]byte("\x00\x00\x02\x50\x02\x00\x01\x60\x00\x00\x50\x10"))
	f.Fuzz(func(t *testing.T, script []byte) { play(t, script[:min(len(script), 4000)]) })
}

// TestListed: when a point has returned all its registrations, what it returned only
// before is forgotten. What other points returned stays.
func TestListed(t *testing.T) {
	s, now := clocked()
	until := now.Add(time.Hour)
	ids := func(seen []Sighting) (all []string) {
		for _, one := range seen {
			all = append(all, string(one.Peer.ID))
		}
		return all
	}
	for _, id := range []peer.ID{"stays", "goes", "goes here"} {
		s.say("n", "point", id, 1, until)
	}
	s.say("n", "other", "goes here", 1, until)
	s.say("another", "point", "goes", 1, until)
	require.ElementsMatch(t, []string{"stays", "goes", "goes here"}, ids(s.ReportedBy("n", "point")))
	version := s.Version("n")

	*now = now.Add(time.Minute)
	since := *now
	s.say("n", "point", "stays", 1, until)
	s.say("n", "point", "new", 1, until)
	s.Complete("n", "point", since)
	require.ElementsMatch(t, []string{"stays", "new"}, ids(s.ReportedBy("n", "point")))
	require.Equal(t, []string{"goes here"}, ids(s.ReportedBy("n", "other")))
	require.Equal(t, []string{"goes"}, ids(s.ReportedBy("another", "point")))
	require.ElementsMatch(t, []string{"stays", "new", "goes here"}, ids(s.Live("n", 0)))
	require.NotEqual(t, version, s.Version("n"))

	version = s.Version("n")
	s.Complete("n", "point", since)
	require.Equal(t, version, s.Version("n"), "nothing new")
	s.Complete("n", "point", now.Add(1))
	s.Complete("n", "other", now.Add(1))
	s.Complete("another", "point", now.Add(1))
	s.Complete("unknown", "point", now.Add(1))
	require.Empty(t, s.ReportedBy("n", "point"))
	require.Empty(t, s.namespaces)
	require.Empty(t, s.shares)
}
