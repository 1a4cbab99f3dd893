package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

const testSmall = 64

// newTestDraws returns limits for samples of a storage that copies.
func newTestDraws(perSecond, burst int) *Draws {
	return NewDraws(DrawCosts{Egress: perSecond, Burst: burst, Copies: true, Small: testSmall, Large: 1000, MaxAnswer: 4 << 20})
}

// scope counts the memory that is reserved, of which there is so much.
type scope struct {
	network.NullScope
	most, reserved int
}

func (s *scope) ReserveMemory(bytes int, _ uint8) error {
	if s.reserved+bytes > s.most {
		return errors.New("no memory")
	}
	s.reserved += bytes
	return nil
}

func (s *scope) ReleaseMemory(bytes int) { s.reserved -= bytes }

// TestMemoryOfDraws: the memory of an answer is reserved as it is expected, then as far as
// its copies take more, and released at the end. That of the copies of a large one is not
// reserved before the storage is asked.
func TestMemoryOfDraws(t *testing.T) {
	for _, test := range []struct{ n, held, begin, ask, hold int }{
		{10, 100, 10 * UsualSize, 10 * UsualSize, 10 * UsualSize},
		{10, 5000, 10 * UsualSize, 10 * UsualSize, 5000},
		{100, 100, 1000, 1000 + 100*UsualSize, 1000 + 100*UsualSize},
		{100, 50_000, 1000, 1000 + 100*UsualSize, 1000 + 50_000},
	} {
		s := &scope{most: 60_000}
		d, err := newTestDraws(0, 0).Begin(t.Context(), "p", Origin{}, s, test.n, time.Now())
		require.NoError(t, err)
		require.Equal(t, test.begin, s.reserved)
		asked := false
		require.NoError(t, d.Slowly(t.Context(), func() error {
			asked = true
			require.Equal(t, test.ask, s.reserved)
			return nil
		}))
		require.True(t, asked)
		require.NoError(t, d.Hold(test.held))
		require.Equal(t, test.hold, s.reserved)
		require.ErrorIs(t, d.Hold(s.most+1), ErrMemory)
		d.End(test.held, true, time.Now())
		require.Zero(t, s.reserved)
		_, err = newTestDraws(0, 0).Begin(t.Context(), "p", Origin{}, &scope{}, test.n, time.Now())
		require.ErrorIs(t, err, ErrMemory)
	}
}

// TestCancelledDraws: a large sample that was cancelled keeps its place at the storage for a
// while, although its caller goes on at once. One that has ended does not.
func TestCancelledDraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draws := newTestDraws(0, 0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		slowly := func(sample func() error) (waited time.Duration) {
			begun := time.Now()
			d, err := draws.Begin(ctx, peer.ID(fmt.Sprint(begun)), Origin{}, &network.NullScope{}, 1000, begun)
			require.NoError(t, err)
			defer d.End(0, true, time.Now())
			_ = d.Slowly(ctx, func() error { waited = time.Since(begun); return sample() })
			return waited
		}
		sleep := func() error { time.Sleep(slowDrawTime / 5); return nil }
		for range 3 * MaxSlowDraws {
			require.Zero(t, slowly(sleep))
		}
		begun := time.Now()
		for range MaxSlowDraws { // both are under way when they are cancelled
			go slowly(func() error { <-ctx.Done(); return ctx.Err() })
			time.Sleep(time.Millisecond)
		}
		cancel()
		synctest.Wait()
		ctx = t.Context()
		slowly(sleep)
		require.Equal(t, begun.Add(slowDrawTime+slowDrawTime/5), time.Now())
	})
}

// TestSlowDrawsEndWithContext: who waits for a place at the storage gives up with the context.
func TestSlowDrawsEndWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draws := newTestDraws(0, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		var refused atomic.Int32
		for i := range 2 * MaxSlowDraws {
			all.Go(func() {
				d, err := draws.Begin(ctx, peer.ID(fmt.Sprint(i)), Origin{}, &network.NullScope{}, 1000, time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				defer d.End(0, true, time.Now())
				if errors.Is(d.Slowly(ctx, func() error { time.Sleep(time.Minute); return nil }), ErrSlowDraws) {
					refused.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, MaxSlowDraws, refused.Load())
	})
}

// TestAnswersLargerThanExpected: a peer that requests many answers at once, which turn out
// ten times as large as expected, gets no more than two of them beyond its budget.
func TestAnswersLargerThanExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst, perSecond, each = 8 << 20, 1 << 20, 10 * 1000 * UsualSize
		draws, origin := newTestDraws(perSecond, burst), OriginOf(ma.StringCast("/ip4/192.0.2.1/tcp/1"))
		var all sync.WaitGroup
		var sent atomic.Int64
		for range 100 {
			all.Go(func() {
				d, err := draws.Begin(t.Context(), "p", origin, &network.NullScope{}, 1000, time.Now())
				if err != nil {
					return
				}
				time.Sleep(time.Second / 10)
				sent.Add(each)
				d.End(each, true, time.Now())
			})
		}
		all.Wait()
		require.Greater(t, sent.Load(), int64(each))
		require.LessOrEqual(t, sent.Load(), int64(burst+perSecond+MaxLargeDraws*each))
	})
}

// TestLargeAnswersOfAnAddress: the peers of an address have few large answers under way at a
// time, and an answer that a peer reads slowly holds up none of its neighbours for long. Peers
// of other addresses, and of none, do not wait.
func TestLargeAnswersOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draws := newTestDraws(0, 0)
		crowded, other := OriginOf(ma.StringCast("/ip4/192.0.2.1/tcp/1")), OriginOf(ma.StringCast("/ip4/192.0.2.2/tcp/1"))
		peers := 0
		begin := func(o Origin, n int) (*Draw, time.Duration) {
			peers++
			begun := time.Now()
			d, err := draws.Begin(t.Context(), peer.ID(fmt.Sprint(peers)), o, &network.NullScope{}, n, begun)
			require.NoError(t, err)
			return d, time.Since(begun)
		}
		end := func(d *Draw) { d.End(1000, true, time.Now()) }
		var slow []*Draw
		for range maxOriginDraws {
			d, waited := begin(crowded, 1000)
			require.Zero(t, waited)
			slow = append(slow, d)
		}
		for _, free := range []struct {
			origin Origin
			n      int
		}{{other, 1000}, {Origin{}, 1000}, {crowded, testSmall}} {
			d, waited := begin(free.origin, free.n)
			require.Zero(t, waited, "%+v", free)
			end(d)
		}
		for range maxOriginDraws { // the places of the slow ones, which go on
			d, waited := begin(crowded, 1000)
			require.LessOrEqual(t, waited, originPlaceTime)
			end(d)
		}
		for _, d := range slow { // gives nothing back twice
			end(d)
		}
		var all []*Draw
		for range maxOriginDraws {
			d, waited := begin(crowded, 1000)
			require.Zero(t, waited)
			all = append(all, d)
		}
		time.AfterFunc(time.Second/10, func() { end(all[0]) })
		d, waited := begin(crowded, 1000)
		require.Equal(t, time.Second/10, waited, "as soon as one of them has ended")
		for _, d := range append(all[1:], d) {
			end(d)
		}
	})
}

// TestRecordsOfOthers: what a peer is charged in advance does not depend on the size of what
// others have asked for. The answer itself is charged before it is written.
func TestRecordsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst = 8 << 20
		draws, now := newTestDraws(1, burst), time.Now()
		begin := func(p peer.ID, n int) (*Draw, error) {
			return draws.Begin(t.Context(), p, Origin{}, &network.NullScope{}, n, now)
		}
		for range 100 { // in a namespace of the peer's
			d, err := begin("hostile", 1)
			require.NoError(t, err)
			require.NoError(t, d.Hold(8<<10))
			d.End(8<<10, true, now)
		}
		const each = 1000 * UsualSize
		for range burst / each {
			d, err := begin("honest", 1000)
			require.NoError(t, err)
			d.End(each, true, now)
		}
		_, err := begin("honest", 1000)
		require.ErrorIs(t, err, ErrEgress)

		d, err := begin("reads slowly", 1000)
		require.NoError(t, err)
		require.NoError(t, d.Hold(burst))
		_, err = begin("reads slowly", 1)
		require.ErrorIs(t, err, ErrEgress)
		d.End(burst, true, now)
	})
}
