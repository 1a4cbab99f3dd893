package points

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// TestPointsAreLearned from what the peerstore knows, and from a service that starts
// later. They are remembered when they are gone.
func TestPointsAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimulation(t, 3)
		h, early, late := sim.hosts[0], sim.hosts[1], sim.hosts[2]
		serve(h, answering(yes))
		serve(early, answering(yes))
		connect(t, h, early)
		connect(t, h, late)
		s := speakerSet(h)
		require.Equal(t, []peer.ID{early.ID()}, idsOf(s.Known()))

		serve(late, answering(yes))
		time.Sleep(2 * scanInterval)
		require.ElementsMatch(t, []peer.ID{early.ID(), late.ID()}, idsOf(s.Known()))

		early.RemoveStreamHandler(testProtocol)
		time.Sleep(2 * scanInterval)
		require.Equal(t, []peer.ID{late.ID()}, idsOf(s.Known()), "it is there and not a point any more")

		sim.unplug(2, true)
		require.NoError(t, h.Network().ClosePeer(late.ID()))
		time.Sleep(10 * time.Minute)
		protocols, err := h.Peerstore().GetProtocols(late.ID())
		require.NoError(t, err)
		require.Empty(t, protocols, "the peerstore has forgotten it")
		require.Equal(t, []peer.ID{late.ID()}, idsOf(s.Known()))
		sim.unplug(2, false)
		h.Peerstore().ClearAddrs(late.ID())
		require.NoError(t, sayHello(t.Context(), s.Point(late.ID())), "its addresses are remembered")

		sim.unplug(2, true)
		require.NoError(t, h.Network().ClosePeer(late.ID()))
		s.Known()
		time.Sleep(rememberFor + time.Minute)
		require.Empty(t, s.Known())
	})
}

// TestFewPointsAreRemembered, however many were there.
func TestFewPointsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSimulation(t, 1).hosts[0]
		s := speakerSet(h)
		book := h.Peerstore()
		var ids []peer.ID
		for range 2 * maxRemembered {
			id := randomID(t)
			ids = append(ids, id)
			book.AddAddrs(id, h.Addrs(), time.Hour)
			require.NoError(t, book.AddProtocols(id, testProtocol))
		}
		require.Len(t, s.Known(), 2*maxRemembered)
		for _, id := range ids {
			book.RemovePeer(id)
			book.ClearAddrs(id)
		}
		time.Sleep(2 * scanInterval)
		require.Len(t, s.Known(), maxRemembered)
	})
}

// TestFewAddressesAreRemembered, however many a point has.
func TestFewAddressesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSimulation(t, 1).hosts[0]
		s := speakerSet(h)
		id := randomID(t)
		var addrs []ma.Multiaddr
		for i := range 50 {
			addrs = append(addrs, ma.StringCast(fmt.Sprintf("/dns/%s/tcp/%d", strings.Repeat("a", 100), 1+i)))
		}
		h.Peerstore().AddAddrs(id, addrs, time.Hour)
		require.NoError(t, h.Peerstore().AddProtocols(id, testProtocol))
		require.Len(t, s.Known(), 1)
		require.Len(t, s.Known()[0].addrs, maxAddrsSize/len(addrs[0].Bytes()))
	})
}

// TestPeerstoreIsScannedRarely, because it may be large: once a second, and a moment after an
// event says that there is something new, however many such events there are.
func TestPeerstoreIsScannedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := newSimulation(t, 2).hosts
		serve(hosts[1], answering(yes))
		book := &countingBook{Peerstore: hosts[0].Peerstore()}
		s := speakerSet(bookHost{hosts[0], book})
		woken := listen(t, s)
		require.Empty(t, s.Known())
		connect(t, hosts[0], hosts[1])
		require.Empty(t, s.Known(), "scanned a moment ago")
		time.Sleep(settleTime + 10*time.Millisecond)
		require.False(t, <-woken)
		require.Equal(t, []peer.ID{hosts[1].ID()}, idsOf(s.Known()), "an event says that there is something new")

		book.scans = 0
		const duration = 10 * time.Second
		for begun := time.Now(); time.Since(begun) < duration; time.Sleep(10 * time.Millisecond) {
			require.True(t, s.noticed(event.EvtPeerIdentificationCompleted{Peer: hosts[1].ID(), Protocols: []protocol.ID{testProtocol}}))
			s.Known()
		}
		require.InDelta(t, duration/scanInterval, book.scans, 1)

		book.scans = 0
		for begun := time.Now(); time.Since(begun) < duration; time.Sleep(10 * time.Millisecond) {
			emit(t, hosts[0], event.EvtPeerProtocolsUpdated{Peer: hosts[1].ID(), Added: []protocol.ID{testProtocol}}, new(event.EvtPeerProtocolsUpdated))
			s.Known()
		}
		require.InDelta(t, duration/settleTime, book.scans, 4)
	})
}

// countingBook counts how often its peers are listed.
type countingBook struct {
	peerstore.Peerstore
	scans int
}

func (b *countingBook) Peers() peer.IDSlice {
	b.scans++
	return b.Peerstore.Peers()
}

// bookHost is a host with another peerstore.
type bookHost struct {
	host.Host
	book peerstore.Peerstore
}

func (h bookHost) Peerstore() peerstore.Peerstore { return h.book }

// TestPointsAreObjects: Set returns the same Point for an ID as long as the point
// is known.
func TestPointsAreObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := newSimulation(t, 2).hosts
		serve(hosts[1], answering(yes))
		connect(t, hosts[0], hosts[1])
		s := speakerSet(hosts[0])
		points := make(chan *Point, 10)
		var running sync.WaitGroup
		for range cap(points) {
			running.Go(func() { points <- s.Choose("n")[0] })
		}
		running.Wait()
		time.Sleep(2 * scanInterval)
		first := s.Known()[0]
		for range cap(points) {
			require.Same(t, first, <-points)
		}
		require.Same(t, first, s.Point(hosts[1].ID()))
	})
}

// TestChooseLeavesOutBackoff unless all points are in it.
func TestChooseLeavesOutBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSimulation(t, 1).hosts[0]
		s := namedSet(h, peer.AddrInfo{ID: randomID(t)}, peer.AddrInfo{ID: randomID(t)})
		order := s.Choose("n")
		require.Len(t, order, 2)
		require.Equal(t, order, s.Preferred("n", 5))
		require.Equal(t, order[:1], s.Preferred("n", 1))

		require.Error(t, sayHello(t.Context(), order[0]))
		require.Equal(t, order[1:], s.Choose("n"))
		time.Sleep(time.Millisecond)
		require.Error(t, sayHello(t.Context(), order[1]))
		time.Sleep(maxBackoff)
		require.Equal(t, order, s.Choose("n"), "its rank is what it was")

		require.Error(t, sayHello(t.Context(), order[0]))
		require.Error(t, sayHello(t.Context(), order[0]))
		require.Error(t, sayHello(t.Context(), order[1]))
		first := order[0]
		if order[1].backoff.until.Before(first.backoff.until) {
			first = order[1]
		}
		require.Equal(t, []*Point{first}, s.Choose("n"), "with all in backoff, whose ends first")
		require.Equal(t, order, s.Preferred("n", 2))
	})
}

// TestSetNamed: other points are used at once, and those that stay keep their backoff.
func TestSetNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3)
		first, second, third := b.hosts[0], b.hosts[1], b.hosts[2]
		s := namedSet(b.client, infos(first, second)...)
		stays := s.Point(second.ID())
		b.behave(resetting, stays)
		require.Error(t, sayHello(t.Context(), stays))

		say := func(point host.Host, ids ...peer.ID) {
			for _, id := range ids {
				s.Sightings().say("n", point.ID(), id, 1, time.Now().Add(72*time.Hour))
			}
		}
		say(first, "of the first", "of both")
		say(second, "of both")
		s.Sightings().say("m", first.ID(), "of the first", 1, time.Now().Add(72*time.Hour))
		before := s.Sightings().Version("n")
		require.False(t, s.Removed(first.ID()))

		s.SetNamed(infos(second, third))
		live := func() (ids []string) {
			for _, one := range s.Sightings().Live("n", 0) {
				ids = append(ids, string(one.Peer.ID))
			}
			return ids
		}
		require.Equal(t, []string{"of both"}, live(), "what the first has said is forgotten, and no more")
		require.Empty(t, s.Sightings().Live("m", 0))
		require.NotEqual(t, before, s.Sightings().Version("n"))
		require.Len(t, s.Sightings().namespaces, 1)
		require.Len(t, s.Sightings().shares, 1)
		require.True(t, s.Removed(first.ID()))
		require.False(t, s.Removed(second.ID()))
		say(first, "of the first") // its answer was under way
		require.Equal(t, []string{"of both"}, live())
		s.SetNamed(infos(first, second, third))
		say(first, "of the first")
		require.ElementsMatch(t, []string{"of both", "of the first"}, live(), "it is named again")
		s.SetNamed(infos(second, third))

		require.ElementsMatch(t, []peer.ID{second.ID(), third.ID()}, idsOf(s.Known()))
		require.Same(t, stays, s.Point(second.ID()))
		require.Equal(t, []peer.ID{third.ID()}, idsOf(s.Choose("n")))
		require.NoError(t, sayHello(t.Context(), s.Point(third.ID())), "its address is known")

		s.SetNamed(nil)
		require.Empty(t, s.Known())
		require.Empty(t, live())
		require.Empty(t, s.Sightings().namespaces)
		_, err := s.Ask(t.Context(), "n", 1, 1, sayHello)
		require.ErrorIs(t, err, ErrNoPoints)
	})
}

// TestSetNamedInsteadOfSpeakers: from then on only those named are points.
func TestSetNamedInsteadOfSpeakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2)
		connect(t, b.client, b.hosts[0])
		s := speakerSet(b.client)
		require.Equal(t, []peer.ID{b.hosts[0].ID()}, idsOf(s.Known()))
		s.Sightings().say("n", b.hosts[0].ID(), "peer", 1, time.Now().Add(time.Hour))
		require.Len(t, s.Sightings().Live("n", 0), 1)
		require.False(t, s.Removed(b.hosts[0].ID()))
		require.False(t, s.Removed("whoever may become a point"))
		s.SetNamed(infos(b.hosts[1]))
		require.Empty(t, s.Sightings().Live("n", 0))
		require.True(t, s.Removed(b.hosts[0].ID()))
		require.Equal(t, []peer.ID{b.hosts[1].ID()}, idsOf(s.Known()))
		require.False(t, s.noticed(event.EvtPeerProtocolsUpdated{Peer: b.hosts[0].ID(), Added: []protocol.ID{testProtocol}}))
		time.Sleep(2 * scanInterval)
		require.Equal(t, []peer.ID{b.hosts[1].ID()}, idsOf(s.Known()))
	})
}

// TestNamedTwice: all its addresses count.
func TestNamedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		s := namedSet(b.client, peer.AddrInfo{ID: b.hosts[0].ID()}, info(b.hosts[0]), peer.AddrInfo{ID: b.hosts[0].ID()})
		require.Len(t, s.Known(), 1)
		require.NoError(t, sayHello(t.Context(), s.Known()[0]))
	})
}

// TestOnlyItselfNamed: a host is not its own point, and strangers are not points where
// any were named.
func TestOnlyItselfNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := newSimulation(t, 2).hosts
		serve(hosts[1], answering(yes))
		connect(t, hosts[0], hosts[1])
		s := namedSet(hosts[0], info(hosts[0]))
		require.Empty(t, s.Known())
		require.Empty(t, s.Choose("n"))
		require.Empty(t, s.Preferred("n", 2))
	})
}

// TestUnknownPoint can be asked, and does not become one of the set.
func TestUnknownPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		connect(t, b.client, b.hosts[0])
		s := namedSet(b.client)
		require.NoError(t, sayHello(t.Context(), s.Point(b.hosts[0].ID())))
		require.Empty(t, s.Known())
	})
}
