package points

import (
	"fmt"
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
			p.Answered(point, time.Now(), seen)
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

		p.Forget(nobody)
		require.Empty(t, p.peers)
		require.Empty(t, p.points)
	})
}

// TestLateAnswersOfAClock: after a late answer nothing counts as passed for a while, as after a
// failure. At a point whose answers all take long, time passes.
func TestLateAnswersOfAClock(t *testing.T) {
	var c answerClock
	now := time.Now()
	answer := func(took time.Duration) {
		now = now.Add(time.Second + took)
		c.answered(now.Add(-took), now, 1)
	}
	for range 5 {
		answer(20 * time.Millisecond)
	}
	at := c.elapsed + 2*time.Second
	for range 3 {
		answer(4500 * time.Millisecond)
		require.False(t, c.passed(at))
	}
	for range int(returnTime/time.Second) - 1 {
		answer(20 * time.Millisecond)
		require.False(t, c.passed(at))
	}
	answer(20 * time.Millisecond)
	require.True(t, c.passed(at))

	c, at = answerClock{}, 20*time.Second
	begun := now
	for !c.passed(at) {
		answer(4500 * time.Millisecond)
		require.Less(t, now.Sub(begun), time.Minute)
	}
}

// TestPresenceInSamples: a peer that is missing in a sample may have been left out by chance.
func TestPresenceInSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPresence()
		asked := func(peer.ID) bool { return true }
		says := func(ids ...peer.ID) {
			var seen []Sighting
			for _, id := range ids {
				seen = append(seen, Sighting{Peer: peer.AddrInfo{ID: id}, Until: time.Now().Add(ttl)})
			}
			p.Answered("a", time.Now(), seen)
		}
		says("goes", "1", "2")
		begun := time.Now()
		for !p.Left("goes", asked) { // half of those that the point must have
			time.Sleep(ttl / 4)
			says("1")
			time.Sleep(ttl / 4)
			says("2")
			require.Less(t, time.Since(begun), 20*ttl)
		}
		require.GreaterOrEqual(t, time.Since(begun), 6*ttl)

		says("goes", "1", "2")
		for range 10 { // what it must have: whoever is missing then is not there any more
			require.False(t, p.Left("goes", asked))
			time.Sleep(ttl / 8)
			says("goes", "1", "2")
		}
		time.Sleep(ttl)
		says("1", "2")
		require.True(t, p.Left("goes", asked))

		says("goes", "1", "2")
		begun = time.Now()
		for !p.Left("1", asked) { // it has lost everything
			time.Sleep(ttl / 4)
			says()
		}
		require.Less(t, time.Since(begun), 3*ttl)
	})
}

// TestPresenceOfALister: a peer has left as soon as the point that returned it returns all
// its registrations without that peer, unless the point has just come back.
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
			p.AnsweredAll("a", time.Now(), all)
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

// TestPresenceOfRemovedPoints: what a removed point has told of peers for hours no longer counts
// once the points that remain, or the new ones, have answered for a while.
func TestPresenceOfRemovedPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPresence()
		seen := func(ids ...peer.ID) (all []Sighting) {
			for _, id := range ids {
				all = append(all, Sighting{Peer: peer.AddrInfo{ID: id}, Until: time.Now().Add(72 * time.Hour)})
			}
			return all
		}
		gone := peer.ID("bad")
		removed := func(point peer.ID) bool { return point == gone }
		asked := func(point peer.ID) bool { return point == "good" }
		p.AnsweredAll("bad", time.Now(), seen("both", "made up"))
		p.AnsweredAll("good", time.Now(), seen("both"))
		require.False(t, p.Left("made up", asked))
		begun := time.Now()
		for !p.Left("made up", asked) {
			p.Removed(removed)
			time.Sleep(time.Second)
			p.AnsweredAll("good", time.Now(), seen("both"))
		}
		require.InDelta(t, returnTime.Seconds(), time.Since(begun).Seconds(), 1.5)
		require.False(t, p.Left("both", asked), "a point that remains has it")

		gone = "good"
		for range 3 { // the new point does not answer yet
			p.Removed(removed)
			time.Sleep(time.Minute)
			p.Failed("new")
			p.NoneAnswered()
			require.False(t, p.Left("both", func(point peer.ID) bool { return point == "new" }))
		}
		p.AnsweredAll("new", time.Now(), seen())
		require.False(t, p.Left("both", asked), "peers may yet have to come to the new point")
		time.Sleep(returnTime)
		p.AnsweredAll("new", time.Now(), seen())
		gone = ""
		require.True(t, p.Left("both", func(point peer.ID) bool { return point == "new" }))
	})
}

// TestPresenceIsBounded: a point tells of ever more peers, and does not answer in between, so
// that none of them leaves. Only so many are remembered, and no more of many points. What
// another point has told is not forgotten for that.
func TestPresenceIsBounded(t *testing.T) {
	for _, c := range []struct{ points, made int }{{1, 1000}, {100, 10}} {
		synctest.Test(t, func(t *testing.T) {
			asked := func(peer.ID) bool { return true }
			p := NewPresence()
			honest := []Sighting{{Peer: peer.AddrInfo{ID: "honest"}, Until: time.Now().Add(time.Hour)}}
			for round := range 40 {
				point := peer.ID(fmt.Sprint("hostile ", round%c.points))
				var made []Sighting
				for i := range c.made {
					id := peer.ID(fmt.Sprint(round, "-", i))
					made = append(made, Sighting{Peer: peer.AddrInfo{ID: id}, Until: time.Now().Add(time.Second)})
				}
				p.Answered(point, time.Now(), made)
				require.False(t, p.Left(made[0].Peer.ID, asked))
				time.Sleep(returnTime / 2)
				p.Failed(point)
				p.Answered("honest point", time.Now(), honest)
				p.NoneAnswered()
				p.Forget(func(peer.ID) bool { return true })
				require.LessOrEqual(t, len(p.peers), 1+maxTold)
				require.LessOrEqual(t, len(p.points), maxSpeaking)
			}
			left := 0
			for i := range c.made {
				if p.Left(peer.ID(fmt.Sprint("0-", i)), asked) {
					left++
				}
			}
			require.Positive(t, left, "what is forgotten keeps nobody from having left")
			require.False(t, p.Left("honest", asked))
		})
	}
}
