package rendezvous

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
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// writeCounter is a host that counts how often its handlers write.
type writeCounter struct {
	host.Host
	writes atomic.Int64
}

func (h *writeCounter) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.Host.SetStreamHandler(id, func(st network.Stream) { handler(&countedWrites{st, &h.writes}) })
}

type countedWrites struct {
	network.Stream
	writes *atomic.Int64
}

func (s *countedWrites) Write(p []byte) (int, error) {
	s.writes.Add(1)
	return s.Stream.Write(p)
}

// registersIn returns the frames of REGISTERs in n namespaces.
func registersIn(t testing.TB, h host.Host, n int) (frames []byte) {
	t.Helper()
	envelope := seal(t, h.Peerstore().PrivKey(h.ID()), h.ID(), addr)
	for i := range n {
		frames = append(frames, frameOf(t, registerRequest(fmt.Sprint("n", i), envelope, DefaultTTL))...)
	}
	return frames
}

// TestAnswersGoTogether: answers to REGISTERs that a peer has sent together take fewer writes than
// there are answers. All of them come, whatever follows the REGISTERs.
func TestAnswersGoTogether(t *testing.T) {
	const n = 20
	for name, after := range map[string][]byte{
		"nothing":      nil,
		"a close":      nil,
		"half a frame": []byte("\x05ab"),
		"a search":     frameOf(t, discoverRequest("n0", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := simHosts(t, 2)
				point := &writeCounter{Host: hosts[0]}
				startPoint(t, point, testStorage(t))
				connect(t, hosts[1], hosts[0])
				st := openRaw(t, hosts[1], hosts[0].ID())
				begun := time.Now()
				_, err := st.Write(append(registersIn(t, hosts[1], n), after...))
				require.NoError(t, err)
				if name == "a close" {
					require.NoError(t, st.CloseWrite())
				}
				for range n {
					answer, err := st.next()
					require.NoError(t, err)
					require.Equal(t, pb.Message_REGISTER_RESPONSE, answer.GetType())
					require.Equal(t, pb.Message_OK, answer.GetRegisterResponse().GetStatus())
				}
				require.Less(t, time.Since(begun), time.Second)
				if name == "a search" {
					answer, err := st.next()
					require.NoError(t, err)
					require.Len(t, answer.GetDiscoverResponse().GetRegistrations(), 1)
				}
				require.LessOrEqual(t, point.writes.Load(), int64(n/2))
			})
		})
	}
}

// TestAnswersWaitBriefly: an answer waits for the request after it at most, and for none if the
// storage is on another machine or an authorizer is asked.
func TestAnswersWaitBriefly(t *testing.T) {
	memory := &lateMemory{memoryStorage: NewMemoryStorage().(*memoryStorage), delay: answerDelay}
	copies := &lateStorage{Storage: NewMemoryStorage()}
	copies.delay.Store(int64(answerDelay))
	allow := WithAuthorizer(func(context.Context, Request) error { return nil })
	t.Run("own memory", func(t *testing.T) { testAnswersOneByOne(t, memory, answerDelay) })
	t.Run("another machine", func(t *testing.T) { testAnswersOneByOne(t, copies, 0) })
	t.Run("authorizer", func(t *testing.T) { testAnswersOneByOne(t, memory, 0, allow) })
}

// answerDelay is how long the registrations of these tests take.
const answerDelay = 100 * time.Millisecond

// lateMemory takes a while for each registration.
type lateMemory struct {
	*memoryStorage
	delay time.Duration
}

func (s *lateMemory) Add(ctx context.Context, r Record, q Quota) error {
	time.Sleep(s.delay)
	return s.memoryStorage.Add(ctx, r, q)
}

// testAnswersOneByOne: each registration takes answerDelay, and the first answer comes no later
// than this long after it is ready.
func testAnswersOneByOne(t *testing.T, slow Storage, late time.Duration, opts ...ServiceOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], slow, opts...)
		connect(t, hosts[1], hosts[0])
		st := openRaw(t, hosts[1], hosts[0].ID())
		const n = 4 // they fit into the point's buffer
		_, err := st.Write(registersIn(t, hosts[1], n))
		require.NoError(t, err)
		var came [n]time.Time
		for i := range n {
			_, err := st.next()
			require.NoError(t, err)
			came[i] = time.Now()
		}
		require.Equal(t, (n-1)*answerDelay-late, came[n-1].Sub(came[0]).Round(answerDelay/10))
	})
}

// TestAnswersBeforeTheEnd: a service that stops sends the answers to the requests that it has
// served.
func TestAnswersBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		stopping := &stopsLate{Storage: testStorage(t)}
		stopping.service = startPoint(t, hosts[0], stopping)
		connect(t, hosts[1], hosts[0])
		st := openRaw(t, hosts[1], hosts[0].ID())
		_, err := st.Write(registersIn(t, hosts[1], 4))
		require.NoError(t, err)
		for range 2 {
			answer, err := st.next()
			require.NoError(t, err)
			require.Equal(t, pb.Message_OK, answer.GetRegisterResponse().GetStatus())
		}
		stopping.stopped.Wait()
		require.EqualValues(t, 2, stopping.added.Load())
	})
}

// stopsLate stops its service while it makes the second registration.
type stopsLate struct {
	Storage
	service *RendezvousService
	added   atomic.Int64
	stopped sync.WaitGroup
}

func (s *stopsLate) Add(ctx context.Context, r Record, q Quota) error {
	if s.added.Add(1) == 2 {
		s.stopped.Go(s.service.Stop)
		<-ctx.Done()
	}
	return s.Storage.Add(context.WithoutCancel(ctx), r, q)
}
