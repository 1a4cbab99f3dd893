package rendezvous

// What a DISCOVER costs whose peer does not wait for its answer.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// slowStorage is a storage that waits in Sample, as for a database, until the context ends
// or answer is closed.
type slowStorage struct {
	Storage
	begun  chan struct{} // receives for each Sample that has begun
	ended  chan error    // receives the error of each Sample
	answer chan struct{}
}

func newSlowStorage(t testing.TB) *slowStorage {
	t.Helper()
	return &slowStorage{
		Storage: testStorage(t),
		begun:   make(chan struct{}, 100),
		ended:   make(chan error, 100),
		answer:  make(chan struct{}),
	}
}

func (s *slowStorage) Sample(ctx context.Context, ns string, n, maxBytes int) (records []Record, err error) {
	s.begun <- struct{}{}
	defer func() { s.ended <- err }()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.answer:
		return s.Storage.Sample(ctx, ns, n, maxBytes)
	}
}

// TestResetCancelsDraw: a storage that waits stops soon after the stream is reset or its
// connection closed, long before the request's time is up. It counts as no failure of the
// storage.
func TestResetCancelsDraw(t *testing.T) {
	for _, transport := range []string{overTCP, overQUIC} {
		for name, end := range map[string]func(*rawStream){
			"reset": func(st *rawStream) { _ = st.Reset() },
			"close": func(st *rawStream) { _ = st.Conn().Close() },
		} {
			t.Run(name+" "+transport, func(t *testing.T) {
				lines, reg, s := countLogs(t), prometheus.NewRegistry(), newSlowStorage(t)
				point, h := newHostOver(t, transport), newHostOver(t, transport)
				startPoint(t, point, s, WithMetrics(reg))
				connect(t, h, point)
				for range 5 {
					connect(t, h, point)
					st := openRaw(t, h, point.ID())
					_, err := st.Write(frameOf(t, discoverRequest("n", 1000)))
					require.NoError(t, err)
					<-s.begun
					begun := time.Now()
					end(st)
					require.ErrorIs(t, <-s.ended, context.Canceled)
					require.Less(t, time.Since(begun), requestTimeout, "not by the request's own time")
				}
				require.Empty(t, lines.lines)
				require.Zero(t, gathered(t, reg)["storage_errors_total{sample}"])
			})
		}
	}
}

// TestUntakenAnswersCost: a peer that resets its streams pays for the answers that it does
// not take, so it is refused as soon as if it had read them.
func TestUntakenAnswersCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, s := simHosts(t, 2), newSlowStorage(t)
		startPoint(t, hosts[0], s, WithEgressLimit(100, 10*100*limit.UsualSize))
		connect(t, hosts[1], hosts[0])
		for range 10 {
			st := openRaw(t, hosts[1], hosts[0].ID())
			_, err := st.Write(frameOf(t, discoverRequest("n", 100)))
			require.NoError(t, err)
			<-s.begun
			require.NoError(t, st.Reset())
			require.ErrorIs(t, <-s.ended, context.Canceled)
		}
		synctest.Wait()
		d := openRaw(t, hosts[1], hosts[0].ID()).ask(discoverRequest("n", 100)).GetDiscoverResponse()
		require.Equal(t, pb.Message_E_UNAVAILABLE, d.GetStatus())
		refusal, _ := refusalOf(limit.ErrEgress)
		require.Equal(t, refusal.Text, d.GetStatusText())
		require.Empty(t, s.begun, "it was refused before anything was drawn")
	})
}

// TestLargeRecordsOfOthers: a peer that asks for its own large record again and again does not
// change what others are charged in advance.
func TestLargeRecordsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, s := simHosts(t, 3), testStorage(t)
		add := func(ns string, i, size int) {
			require.NoError(t, s.Add(t.Context(), Record{Namespace: ns, Peer: peer.ID(fmt.Sprint(i)), Envelope: make([]byte, size), Deadline: time.Now().Add(time.Hour)}, Quota{}))
		}
		add("big", 0, peerrecord.MaxSize)
		for i := range 100 {
			add("n", i, limit.UsualSize)
		}
		startPoint(t, hosts[0], s, WithEgressLimit(2000, 4<<20))
		connect(t, hosts[1], hosts[0])
		connect(t, hosts[2], hosts[0])
		for range 50 {
			require.Len(t, openRaw(t, hosts[1], hosts[0].ID()).ask(discoverRequest("big", 1)).GetDiscoverResponse().GetRegistrations(), 1)
			time.Sleep(time.Second / 10)
		}
		for range 3 {
			require.Len(t, openRaw(t, hosts[2], hosts[0].ID()).ask(discoverRequest("n", 1000)).GetDiscoverResponse().GetRegistrations(), 100)
		}
	})
}

// TestSlowDraws: a storage that waits is asked for few large samples of all peers at a time.
// Small samples and registrations do not wait for them, and neither do requests that come
// after their streams have ended.
func TestSlowDraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, s := simHosts(t, 2+limit.MaxSlowDraws), newSlowStorage(t)
		point, honest := hosts[0], hosts[1]
		startPoint(t, point, s)
		connect(t, honest, point)
		send := func(h host.Host, limit int) *rawStream {
			st := openRaw(t, h, point.ID())
			_, err := st.Write(frameOf(t, discoverRequest("n", limit)))
			require.NoError(t, err)
			time.Sleep(time.Second / 10)
			return st
		}
		var streams []*rawStream
		for _, h := range hosts[2:] {
			connect(t, h, point)
			streams = append(streams, send(h, 1000), send(h, 1000))
		}
		require.Len(t, s.begun, limit.MaxSlowDraws)
		r := openRaw(t, honest, point.ID()).ask(registerRequest("n", ownEnvelope(t, honest), 0)).GetRegisterResponse()
		require.Equal(t, pb.Message_OK, r.GetStatus())
		small := send(honest, smallSample)
		require.Len(t, s.begun, limit.MaxSlowDraws+1)
		large := send(honest, 1000)
		require.Len(t, s.begun, limit.MaxSlowDraws+1)
		for _, st := range streams {
			require.NoError(t, st.Reset())
		}
		time.Sleep(time.Second / 10)
		close(s.answer)
		requireAnswers(t, small, pb.Message_DISCOVER_RESPONSE)
		requireAnswers(t, large, pb.Message_DISCOVER_RESPONSE)
	})
}

// slowPager is a pager that waits in Page until the context ends, once it is slow.
type slowPager struct {
	Pager
	slow     bool
	underWay atomic.Int32
}

func (s *slowPager) Page(ctx context.Context, ns string, kind RecordKind, after Cursor, n, maxBytes int) ([]Record, Cursor, error) {
	if !s.slow {
		return s.Pager.Page(ctx, ns, kind, after, n, maxBytes)
	}
	s.underWay.Add(1)
	defer s.underWay.Add(-1)
	<-ctx.Done()
	return nil, "", ctx.Err()
}

// TestSlowPages: a large page of a storage that waits counts as a large sample. A small one
// does not wait for them.
func TestSlowPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowPager{Pager: pagingStorage(t)}
		q := newTestRequests(t, s, WithStandardProtocol(0, 0))
		var err error
		q.standard, err = newStandard(nil, s, q.config.metrics)
		require.NoError(t, err)
		require.NoError(t, q.standard.begin(t.Context()))
		s.slow = true
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		ask := func(p peer.ID, n int) {
			asking.Go(func() {
				d, err := q.draws.Begin(ctx, p, limit.Origin{}, &network.NullScope{}, n, time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				defer d.End(0, true, time.Now())
				_, _, err = q.standard.page(ctx, &pageQuery{namespace: "n", limit: n, draw: d}, nil, nil)
				if err == nil {
					t.Error("a page was read")
				}
			})
		}
		for i := range 2 * limit.MaxSlowDraws {
			ask(peer.ID(fmt.Sprint(i)), 1000)
		}
		synctest.Wait()
		require.EqualValues(t, limit.MaxSlowDraws, s.underWay.Load())
		ask("small", smallSample)
		synctest.Wait()
		require.EqualValues(t, limit.MaxSlowDraws+1, s.underWay.Load())
		cancel()
		asking.Wait()
		require.Zero(t, s.underWay.Load())
	})
}

// TestDrawsOfPatientPeers: a peer that sends its next request early, or half-closes the
// stream, gets its answers. So does one whose stream has served slow draws before.
func TestDrawsOfPatientPeers(t *testing.T) {
	for _, transport := range []string{overTCP, overQUIC} {
		s := newSlowStorage(t)
		point, h := newHostOver(t, transport), newHostOver(t, transport)
		startPoint(t, point, s)
		connect(t, h, point)
		send := func(st *rawStream, requests ...*pb.Message) {
			for _, r := range requests {
				_, err := st.Write(frameOf(t, r))
				require.NoError(t, err)
			}
		}
		discover, register := discoverRequest("n", 100), registerRequest("n", ownEnvelope(t, h), 0)
		early, halfClosed := openRaw(t, h, point.ID()), openRaw(t, h, point.ID())
		send(early, discover)
		<-s.begun
		send(early, register, discover, register)
		send(halfClosed, discover)
		require.NoError(t, halfClosed.CloseWrite())
		<-s.begun
		close(s.answer)
		requireAnswers(t, early, pb.Message_DISCOVER_RESPONSE, pb.Message_REGISTER_RESPONSE, pb.Message_DISCOVER_RESPONSE, pb.Message_REGISTER_RESPONSE)
		send(early, discover)
		requireAnswers(t, early, pb.Message_DISCOVER_RESPONSE)
		requireAnswers(t, halfClosed, pb.Message_DISCOVER_RESPONSE)
		_, err := halfClosed.next()
		require.Error(t, err)
	}
}

// requireAnswers reads successful answers of these types.
func requireAnswers(t *testing.T, st *rawStream, types ...pb.Message_MessageType) {
	t.Helper()
	for _, want := range types {
		m, err := st.next()
		require.NoError(t, err)
		require.Equal(t, want, m.GetType())
		require.Equal(t, pb.Message_OK, m.GetDiscoverResponse().GetStatus())
		require.Equal(t, pb.Message_OK, m.GetRegisterResponse().GetStatus())
	}
}

// TestStopDuringDraw: Stop ends a draw that waits.
func TestStopDuringDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, s := simHosts(t, 2), newSlowStorage(t)
		service := startPoint(t, hosts[0], s)
		connect(t, hosts[1], hosts[0])
		ask := func(h host.Host) {
			_, err := openRaw(t, h, hosts[0].ID()).Write(frameOf(t, discoverRequest("n", 100)))
			require.NoError(t, err)
			<-s.begun
		}
		ask(hosts[1])
		begun := time.Now()
		service.Stop()
		require.LessOrEqual(t, time.Since(begun), stopTimeout)
		require.ErrorIs(t, <-s.ended, context.Canceled)
	})
}

// TestStopAfterCancelledDraw: Stop does not wait for the time for which a cancelled draw counts.
func TestStopAfterCancelledDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const short = 50 * time.Millisecond
		hosts, s := simHosts(t, 2), newSlowStorage(t)
		service := startPoint(t, hosts[0], s)
		connect(t, hosts[1], hosts[0])
		for range limit.MaxSlowDraws {
			st := openRaw(t, hosts[1], hosts[0].ID())
			_, err := st.Write(frameOf(t, discoverRequest("n", 1000)))
			require.NoError(t, err)
			<-s.begun
			require.NoError(t, st.Reset())
			require.ErrorIs(t, <-s.ended, context.Canceled)
		}
		other := openRaw(t, hosts[1], hosts[0].ID())
		_, err := other.Write(frameOf(t, discoverRequest("n", 1000)))
		require.NoError(t, err)
		time.Sleep(short)
		require.Empty(t, s.begun, "they still count")
		begun := time.Now()
		service.Stop()
		require.Less(t, time.Since(begun), short)
	})
}
