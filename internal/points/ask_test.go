package points

import (
	"bufio"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
)

// TestAskGoesOn to the next point where one fails or refuses, in order, and asks no
// more than it needs.
func TestAskGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 4)
		order := b.set.Choose("n")
		b.behave(resetting, order[0])
		b.behave(answering(refusal), order[1])
		var asked []*Point
		answered, err := b.set.Ask(t.Context(), "n", 1, 1, func(ctx context.Context, p *Point) error {
			asked = append(asked, p)
			return sayHello(ctx, p)
		})
		require.NoError(t, err)
		require.Equal(t, order[2:3], answered)
		require.Equal(t, order[:3], asked)
		require.Equal(t, order[1:], b.set.Choose("n"), "only the broken one is in backoff")

		b.behave(answering(tooMuch), order...)
		_, err = b.set.Ask(t.Context(), "n", 1, 1, sayHello)
		require.ErrorIs(t, err, errTooMuch)
		require.LessOrEqual(t, RetryAfter(order...), afterTooMuch)
		require.Equal(t, idsOf(order[1:]), idsOf(b.set.Choose("n")), "they are well")
	})
}

// TestAskWithoutPoints says so at once.
func TestAskWithoutPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSimulation(t, 1).hosts[0]
		for _, s := range []*Set{namedSet(h), speakerSet(h)} {
			_, err := s.Ask(t.Context(), "n", 2, 1, sayHello)
			require.ErrorIs(t, err, ErrNoPoints)
		}
	})
}

// TestAskCutShort says nothing about points that had no time to answer.
func TestAskCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 4)
		b.behave(silent, b.set.Known()...)
		ctx, cancel := context.WithTimeout(t.Context(), fairTime/2)
		defer cancel()
		_, err := b.set.Ask(ctx, "n", 2, 2, sayHello)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, b.set.Choose("n"), 4)
	})
}

// TestAskHedges: a silent point costs a moment, also where another answers quickly,
// and however many are silent, asking ends.
func TestAskHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10)
		order := b.set.Choose("n")
		b.behave(silent, order[0])
		begun := time.Now()
		answered, err := b.set.Ask(t.Context(), "n", 2, 1, sayHello)
		require.NoError(t, err)
		require.ElementsMatch(t, order[1:3], answered, "the third is asked for the first")
		require.LessOrEqual(t, time.Since(begun), 3*hedgeAfter)
		require.NotContains(t, b.set.Choose("n"), order[0])

		b.behave(silent, order...)
		begun = time.Now()
		_, err = b.set.Ask(t.Context(), "n", 2, 2, sayHello)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(begun), askTimeout)
	})
}

// recording returns a request that records which points it was made at.
func recording(asked *[]*Point) func(context.Context, *Point) error {
	var mu sync.Mutex
	return func(ctx context.Context, p *Point) error {
		mu.Lock()
		*asked = append(*asked, p)
		mu.Unlock()
		return sayHello(ctx, p)
	}
}

// TestAskTriesOneThatFailed: it does so in addition to as many points that work as are wanted.
// It tries no point that is not among the first.
func TestAskTriesOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 6)
		ranked := b.set.Choose("n")
		fail := func(points ...*Point) {
			for _, p := range points {
				b.behave(resetting, p)
				require.Error(t, sayHello(t.Context(), p))
				time.Sleep(time.Millisecond) // so that their backoffs differ
			}
			time.Sleep(maxBackoff)
		}
		ask := func() (answered, asked []*Point) {
			answered, err := b.set.Ask(t.Context(), "n", 2, 1, recording(&asked))
			require.NoError(t, err)
			return answered, asked
		}

		fail(ranked[5])
		_, asked := ask()
		require.ElementsMatch(t, ranked[:2], asked, "nobody needs the one that fails")

		fail(ranked[0])
		require.Equal(t, 3, b.set.AtOnce("n", 2))
		answered, asked := ask()
		require.ElementsMatch(t, ranked[:3], asked, "its failure does not add a fourth")
		require.ElementsMatch(t, ranked[1:3], answered)

		fail(ranked[0], ranked[1])
		longest := slices.MinFunc(ranked[:2], func(a, b *Point) int { return a.backoff.until.Compare(b.backoff.until) })
		_, asked = ask()
		require.ElementsMatch(t, append(ranked[2:4:4], longest), asked, "one of two, whose backoff ended first")

		b.behave(answering(yes), ranked...)
		time.Sleep(maxBackoff)
		for range 2 {
			_, asked = ask()
			require.Len(t, asked, 3)
		}
		_, asked = ask()
		require.ElementsMatch(t, ranked[:2], asked, "all is well")
		require.Equal(t, 2, b.set.AtOnce("n", 2))
	})
}

// TestAskWaitsForTheExtraOne: a point that failed and answers late has as much time as it would if
// others had not answered yet.
func TestAskWaitsForTheExtraOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, enough := range []int{1, 2} {
			b := newBed(t, 3)
			ranked := b.set.Choose("n")
			b.behave(silent, ranked[0])
			ask := func() (answered []*Point, took time.Duration) {
				begun := time.Now()
				answered, err := b.set.Ask(t.Context(), "n", 2, enough, sayHello)
				require.NoError(t, err)
				return answered, time.Since(begun)
			}
			for range 3 {
				answered, took := ask()
				require.ElementsMatch(t, ranked[1:], answered)
				require.LessOrEqual(t, took, 3*hedgeAfter)
				require.NotContains(t, b.set.Choose("n"), ranked[0], "it had time")
				time.Sleep(maxBackoff)
			}
			b.behave(func(st network.Stream, r *bufio.Reader) {
				time.Sleep(hedgeAfter * 3 / 2)
				answering(yes)(st, r)
			}, ranked[0])
			answered, _ := ask()
			require.ElementsMatch(t, ranked, answered)
			require.False(t, ranked[0].Failing())
		}
	})
}

// TestRetryAfter is when the first backoff ends, and late for a point that refuses.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 2)
		failing, refusing := b.set.Point(b.hosts[0].ID()), b.set.Point(b.hosts[1].ID())
		b.behave(resetting, failing)
		b.behave(answering(refusal), refusing)
		require.Equal(t, afterRefusal, RetryAfter())
		for range 4 {
			require.Error(t, sayHello(t.Context(), failing))
			require.Error(t, sayHello(t.Context(), refusing))
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, afterRefusal, RetryAfter(refusing))
		wait := time.Until(failing.backoff.until)
		require.Greater(t, wait, 2*time.Second)
		require.Equal(t, wait, RetryAfter(refusing, failing))
		time.Sleep(wait)
		require.LessOrEqual(t, RetryAfter(failing), MinBackoff)
		require.Positive(t, RetryAfter(failing))
	})
}
