package limit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// TestTurns: places go round the networks that wait, and within one to who has waited longest.
// Who gives up is passed over.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns, served := newTurns(1), make(chan string, 20)
		require.NoError(t, turns.take(t.Context(), "first", Origin{}))
		impatient, cancel := context.WithCancel(t.Context())
		wait := func(ctx context.Context, name string, o Origin) {
			go func() {
				if turns.take(ctx, peer.ID(name), o) == nil {
					served <- name
				}
			}()
			synctest.Wait()
		}
		for i := range 3 {
			wait(t.Context(), fmt.Sprint("hostile ", i), at6(1, i<<8))
		}
		wait(impatient, "gives up", at4(1))
		wait(t.Context(), "a", at4(2))
		wait(t.Context(), "b", Origin{})
		wait(impatient, "gives up too", at4(2))
		wait(t.Context(), "c", Origin{})
		cancel()
		synctest.Wait()
		for _, next := range []string{"hostile 0", "a", "b", "c", "hostile 1", "hostile 2"} {
			turns.leave()
			require.Equal(t, next, <-served)
		}
		turns.leave()
		require.Equal(t, 1, turns.free)
		require.Empty(t, turns.waiting)
		require.Empty(t, turns.order)
	})
}

// TestTurnsAtTheSameTime: no more than the places are taken at a time, and all are given back,
// although many who wait give up.
func TestTurnsAtTheSameTime(t *testing.T) {
	const places = 3
	turns := newTurns(places)
	var all sync.WaitGroup
	inside := make(chan struct{}, places)
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%20)*100*time.Microsecond)
			defer cancel()
			if turns.take(ctx, nth(i), at4(i%7)) != nil {
				return
			}
			defer turns.leave()
			select {
			case inside <- struct{}{}:
			default:
				t.Error("too many have a place")
			}
			time.Sleep(50 * time.Microsecond)
			<-inside
		})
	}
	all.Wait()
	require.Equal(t, places, turns.free)
	require.Empty(t, turns.waiting)
	require.Empty(t, turns.order)
}

// TestSlowDrawsOfOthers: networks that ask for large samples all the time do not keep those of
// another one from the storage, and one that cannot be served is told so within a second.
func TestSlowDrawsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draws := newTestDraws(0, 0)
		ask := func(p peer.ID, o Origin, takes time.Duration) (waited time.Duration, err error) {
			begun := time.Now()
			d, err := draws.Begin(t.Context(), p, o, &network.NullScope{}, 1000, begun)
			if err != nil {
				return time.Since(begun), err
			}
			defer d.End(0, true, time.Now())
			err = d.Slowly(t.Context(), func() error {
				waited = time.Since(begun)
				time.Sleep(takes)
				return nil
			})
			if err != nil {
				waited = time.Since(begun)
			}
			return waited, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, _ = ask(nth(i), at6(1, i), 100*time.Millisecond)
				}
			})
		}
		for range 20 {
			time.Sleep(110 * time.Millisecond)
			waited, err := ask("honest", at4(1), time.Millisecond)
			require.NoError(t, err)
			require.LessOrEqual(t, waited, 200*time.Millisecond)
		}
		cancel()
		all.Wait()
		for i := range MaxSlowDraws {
			all.Go(func() { _, _ = ask(nth(i), at4(i), time.Minute) })
		}
		synctest.Wait()
		waited, err := ask("honest", at4(10), 0)
		require.ErrorIs(t, err, ErrSlowDraws)
		require.Less(t, waited, time.Second)
		all.Wait()
	})
}
