package points

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
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
			require.Equal(t, step.ask, string(f.next()), step.name)
			if step.ask == "" {
				begun = time.Now()
			}
			require.Equal(t, step.more, f.answered(100, Page{Got: step.got, Cookie: []byte(step.cookie)}, false), step.name)
			if step.listed {
				require.Equal(t, begun, f.CompleteSince(), step.name)
			} else {
				require.Zero(t, f.CompleteSince(), step.name)
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
		require.Empty(t, f.next())
		reconnect() // the first request connects, which means nothing
		require.True(t, f.answered(1, Page{Got: 1, Cookie: []byte("1")}, false))
		require.Equal(t, "1", string(f.next()))

		reconnect() // while it waits for the answer
		require.True(t, f.answered(1, Page{Cookie: []byte("1")}, false))
		require.Empty(t, f.next())
		require.True(t, f.answered(1, Page{Got: 1, Cookie: []byte("1")}, false))

		reconnect() // between two requests
		require.Empty(t, f.next())
	})
}

// TestFollowOneAtATime: one caller at a time follows a list, and nobody waits for longer
// than its context. The memory for each point is bounded.
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

// TestReadPages: pages are read to the end of a list, and not for ever from a point whose
// cookies lead nowhere.
func TestReadPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		require.NoError(t, sayHello(t.Context(), p))
		time.Sleep(time.Second)
		page := func(cookie string, peers ...peer.ID) Page {
			var found []Entry
			for _, id := range peers {
				found = append(found, Entry{"n", id})
			}
			return Page{Found: found, Got: len(peers), Cookie: []byte(cookie)}
		}
		failed := errors.New("no answer")
		for name, step := range map[string]struct {
			page  func(n int) (Page, bool, error) // n counts from 0
			asked []string                        // the cookies
			err   error
		}{
			"to the end": {func(n int) (Page, bool, error) {
				return []Page{page("1", "a"), page("2", "b"), page("3")}[n], false, nil
			}, []string{"", "1", "2"}, nil},
			"until the caller has enough": {func(n int) (Page, bool, error) {
				return []Page{page("1", "a"), page("2", "b")}[n], n == 1, nil
			}, []string{"", "1"}, nil},
			"until a page has nothing new": {func(n int) (Page, bool, error) {
				return []Page{page("1", "a", "b", "c"), page("2", "c", "a")}[n], false, nil
			}, []string{"", "1"}, nil},
			"until a page is the last one again": {func(n int) (Page, bool, error) {
				return []Page{page("1", "a", "b"), page("2", "a")}[n], false, nil
			}, []string{"", "1"}, nil},
			"again after a cookie that the point does not know": {func(n int) (Page, bool, error) {
				return []Page{page("1", "a"), {Unknown: true}, page("2", "a", "b"), page("2")}[n], false, nil
			}, []string{"", "1", "", "2"}, nil},
			"until pages fail": {func(n int) (Page, bool, error) {
				return page("1", "a"), false, []error{nil, failed}[n]
			}, []string{"", "1"}, nil},
			"none": {func(int) (Page, bool, error) {
				return Page{}, false, failed
			}, []string{""}, failed},
			"not for ever": {func(n int) (Page, bool, error) {
				return page(fmt.Sprint(n), peer.ID(fmt.Sprint(n))), false, nil
			}, []string{"", "0", "1", "2", "3", "4", "5", "6"}, nil},
			"nor of cookies that the point does not know": {func(int) (Page, bool, error) {
				return Page{Unknown: true}, false, nil
			}, slices.Repeat([]string{""}, MaxPages), nil},
		} {
			var asked []string
			err := p.FollowOnce("n").Read(100, func(cookie []byte) (Page, bool, error) {
				asked = append(asked, string(cookie))
				return step.page(len(asked) - 1)
			})
			require.Equal(t, step.err, err, name)
			require.Equal(t, step.asked, asked, name)
		}
	})
}

// TestRepeats: a page repeats the last one if it has the same registrations in the same
// order, or all but the last of them.
func TestRepeats(t *testing.T) {
	a, b, c := Entry{"n", "a"}, Entry{"n", "b"}, Entry{"n", "c"}
	require.True(t, repeats([]Entry{a, b}, []Entry{a, b}))
	require.True(t, repeats([]Entry{a, b}, []Entry{a}))
	require.False(t, repeats([]Entry{a, b}, nil))
	require.False(t, repeats(nil, []Entry{a}))
	require.False(t, repeats([]Entry{a, b}, []Entry{a, b, c}))
	require.False(t, repeats([]Entry{a, b, c}, []Entry{a}))
	require.False(t, repeats([]Entry{a, b}, []Entry{b, a}))
	require.False(t, repeats([]Entry{a}, []Entry{{"m", "a"}}))
}
