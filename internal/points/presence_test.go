package points

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestPresence: time in which a point does not answer does not end its registrations. If
// the point is not asked any more, the other points decide.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPresence()
		asked := func(id peer.ID) bool { return id == "a" }
		nobody := func(peer.ID) bool { return false }
		says := func(point peer.ID, ids ...peer.ID) {
			var seen []Sighting
			for _, id := range ids {
				seen = append(seen, Sighting{Peer: peer.AddrInfo{ID: id}, Until: time.Now().Add(ttl)})
			}
			p.Answered(point, seen, 1)
		}
		says("a", "peer")
		for range 3 { // out of reach
			time.Sleep(ttl)
			p.Failed("a")
			p.NoneAnswered()
			require.False(t, p.Left("peer", asked))
		}
		says("a")
		require.False(t, p.Left("peer", asked), "the peer has to find the point, too")
		time.Sleep(ttl)
		says("a")
		require.True(t, p.Left("peer", asked))

		says("a", "peer")
		p.Failed("a")
		time.Sleep(ttl)
		says("b")
		require.False(t, p.Left("peer", asked), "that b does not know the peer says nothing")
		require.True(t, p.Left("peer", nobody))

		p.Answered("a", []Sighting{{Peer: peer.AddrInfo{ID: "other"}, Until: time.Now().Add(ttl)}}, 1)
		for range 4 {
			time.Sleep(ttl)
			require.False(t, p.Left("other", asked))
			p.Answered("a", nil, 0.25) // it may be among those that the answer left out
		}
		require.True(t, p.Left("other", asked))
		p.Forget(nobody)
		require.Empty(t, p.peers)
		require.Empty(t, p.points)
	})
}

// TestPresenceOfALister: a peer that a point tells of has left as soon as the point tells of
// all that it has and not of the peer, unless the point has just come back.
func TestPresenceOfALister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPresence()
		asked := func(peer.ID) bool { return true }
		nobody := func(peer.ID) bool { return false }
		lists := func(ids ...peer.ID) {
			var all []Sighting
			for _, id := range ids {
				all = append(all, Sighting{Peer: peer.AddrInfo{ID: id}, Until: time.Now().Add(2 * time.Hour)})
			}
			p.Listed("a", all)
		}
		lists("stays", "goes")
		require.False(t, p.Left("goes", asked))
		time.Sleep(time.Minute)
		lists("stays")
		require.True(t, p.Left("goes", asked))
		require.True(t, p.Left("goes", nobody), "all points together say so as well")
		require.False(t, p.Left("stays", asked))

		p.Failed("a")
		time.Sleep(time.Minute)
		lists() // it has restarted, and peers have yet to come back to it
		require.False(t, p.Left("stays", asked))
		time.Sleep(returnTime)
		lists()
		require.True(t, p.Left("stays", asked))
	})
}
