package points

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFollow: a list is read to its end and on from there, and begins anew after a while.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p)) // which connects
		time.Sleep(time.Second)
		begun := time.Now()
		for _, step := range []struct {
			name         string
			wait         time.Duration
			ask          string // the cookie to ask with
			cookie       string // of the answer
			got          int    // registrations, of 100 that were asked for
			more, listed bool
		}{
			{"first page", 0, "", "1", 100, true, false},
			{"second page", 0, "1", "2", 7, true, false},
			{"end", 0, "2", "2", 0, false, true},
			{"nothing new", 10 * time.Second, "2", "2", 0, false, true},
			{"something new", 10 * time.Second, "2", "3", 1, true, true},
			{"end again", 0, "3", "3", 0, false, true},
			{"anew", listAgain, "", "", 50, false, false},
			{"no cookie at the end", 0, "", "", 0, false, true},
			{"a cookie that is too long", 0, "", strings.Repeat("c", maxCookie+1), 1, false, false},
			{"the longest", 0, "", strings.Repeat("c", maxCookie), 1, true, false},
			{"the same again", 0, strings.Repeat("c", maxCookie), strings.Repeat("c", maxCookie), 1, false, true},
			{"only the first page counts then, which may be cut", 0, "", "1", newestOnly, false, false},
			{"or not", 0, "", "1", newestOnly - 1, false, true},
			{"until the point is tried anew", listAgain, "", "1", newestOnly - 1, true, false},
			{"and leads on", 0, "1", "2", 1, true, false},
		} {
			time.Sleep(step.wait)
			f, err := p.Follow(t.Context(), "n")
			require.NoError(t, err)
			require.Equal(t, step.ask, string(f.Ask()), step.name)
			if step.ask == "" {
				begun = time.Now()
			}
			require.Equal(t, step.more, f.Answered(Page{Asked: 100, Got: step.got, Cookie: []byte(step.cookie)}), step.name)
			if step.listed {
				require.Equal(t, begun, f.Listed(), step.name)
			} else {
				require.Zero(t, f.Listed(), step.name)
			}
			f.Done()
		}
	})
}

// TestFollowAPointThatRestarts: after a new connection, the list begins anew. Cookies from
// before may make the point leave out what is new.
func TestFollowAPointThatRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		f, err := p.Follow(t.Context(), "n")
		require.NoError(t, err)
		reconnect := func() {
			require.NoError(t, b.client.Network().ClosePeer(p.ID()))
			time.Sleep(time.Second)
			require.NoError(t, sayHello(t.Context(), p))
		}
		require.Empty(t, f.Ask())
		reconnect() // the first request connects, which means nothing
		require.True(t, f.Answered(Page{Asked: 1, Got: 1, Cookie: []byte("1")}))
		require.Equal(t, "1", string(f.Ask()))

		reconnect() // while it waits for the answer
		require.True(t, f.Answered(Page{Asked: 1, Cookie: []byte("1")}))
		require.Empty(t, f.Ask())
		require.True(t, f.Answered(Page{Asked: 1, Got: 1, Cookie: []byte("1")}))

		reconnect() // between two requests
		require.Empty(t, f.Ask())
	})
}

// TestFollowOneAtATime: whoever follows a list has it alone, and nobody waits for longer
// than its context. What is remembered of a point is bounded.
func TestFollowOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		f, err := p.Follow(t.Context(), "n")
		require.NoError(t, err)
		_, err = p.Follow(t.Context(), "another")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Follow(ctx, "n")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		f.Done()
		again, err := p.Follow(t.Context(), "n")
		require.NoError(t, err)
		require.Same(t, f, again)

		for i := range 2 * maxFollowed {
			_, err := p.Follow(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
		}
		require.Equal(t, maxFollowed, p.follows.Len())
	})
}
