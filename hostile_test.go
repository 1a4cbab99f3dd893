package rendezvous

// Attacks by hostile peers on a point, and inputs that broke other implementations.
// cmd/internal/attack runs such attacks on real hosts under load.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// resetCodeOf returns the error code with which the other side reset a stream.
func resetCodeOf(t testing.TB, err error) network.StreamErrorCode {
	t.Helper()
	var reset *network.StreamError
	require.ErrorAs(t, err, &reset)
	require.True(t, reset.Remote)
	return reset.ErrorCode
}

// bookkeeper is a host that records which streams its handlers serve and how much memory
// they have reserved. Simulated hosts have no resource manager to do so.
type bookkeeper struct {
	host.Host
	streams, memory atomic.Int64
	full            bool // memory is refused
}

func (b *bookkeeper) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	b.Host.SetStreamHandler(id, func(st network.Stream) {
		b.streams.Add(1)
		defer b.streams.Add(-1)
		handler(booked{st, b})
	})
}

type booked struct {
	network.Stream
	books *bookkeeper
}

func (b booked) Scope() network.StreamScope { return &books{bookkeeper: b.books} }

type books struct {
	network.NullScope
	*bookkeeper
}

func (b *books) ReserveMemory(size int, _ uint8) error {
	if b.full {
		return network.ErrResourceLimitExceeded
	}
	b.memory.Add(int64(size))
	return nil
}
func (b *books) ReleaseMemory(size int) { b.memory.Add(-int64(size)) }

// TestRateLimit: over the rate, the answer is E_UNAVAILABLE. Far over it, streams are
// reset. A peer that waits is served again. Other peers notice nothing.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		point, greedy, honest := hosts[0], hosts[1], hosts[2]
		startPoint(t, point, testStorage(t), WithRateLimit(1, 3))
		connect(t, greedy, point)
		connect(t, honest, point)
		st := openRaw(t, greedy, point.ID())
		for range 3 {
			require.Equal(t, pb.Message_OK, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
		}
		r := st.ask(registerRequest("n", []byte("not looked at"), 0)).GetRegisterResponse()
		require.Equal(t, pb.Message_E_UNAVAILABLE, r.GetStatus())
		require.NotEmpty(t, r.GetStatusText())

		var err error
		for range 100 {
			if _, err = st.Write([]byte{0}); err != nil { // an empty message: a REGISTER without a body
				break
			}
			if _, err = st.next(); err != nil {
				break
			}
		}
		require.Equal(t, network.StreamRateLimited, resetCodeOf(t, err))
		_, err = openRaw(t, greedy, point.ID()).next()
		require.Equal(t, network.StreamRateLimited, resetCodeOf(t, err), "before reading")

		require.Equal(t, pb.Message_OK, openRaw(t, honest, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
		time.Sleep(6 * time.Second)
		require.Equal(t, pb.Message_OK, openRaw(t, greedy, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
	})
}

// TestEmptyStreamsCost: a stream without a request counts as a request.
func TestEmptyStreamsCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t), WithRateLimit(0.1, 3))
		connect(t, hosts[1], hosts[0])
		for range 3 {
			st := openRaw(t, hosts[1], hosts[0].ID())
			require.NoError(t, st.CloseWrite())
			_, err := st.next()
			require.Error(t, err)
		}
		d := openRaw(t, hosts[1], hosts[0].ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse()
		require.Equal(t, pb.Message_E_UNAVAILABLE, d.GetStatus())
	})
}

// TestMaxRegistrationsPerIP: the limit applies over the wire, answers E_UNAVAILABLE, and
// counts only live registrations.
func TestMaxRegistrationsPerIP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		point, crowded, elsewhere := hosts[0], hosts[1], hosts[2]
		startPoint(t, point, testStorage(t), WithMaxRegistrationsPerIP(3))
		register := func(h host.Host, ns string, ttl time.Duration) *pb.Message_RegisterResponse {
			connect(t, h, point)
			return openRaw(t, h, point.ID()).ask(registerRequest(ns, ownEnvelope(t, h), ttl)).GetRegisterResponse()
		}
		for _, ns := range []string{"a", "b", "c"} {
			require.Equal(t, pb.Message_OK, register(crowded, ns, 0).GetStatus())
		}
		require.Equal(t, pb.Message_E_UNAVAILABLE, register(crowded, "d", 0).GetStatus())
		require.Equal(t, pb.Message_OK, register(crowded, "a", time.Second).GetStatus(), "a refresh")
		require.Equal(t, pb.Message_OK, register(elsewhere, "d", 0).GetStatus())
		time.Sleep(time.Second + grace + 100*time.Millisecond) // the limit counts in tenths of a second
		require.Equal(t, pb.Message_OK, register(crowded, "d", 0).GetStatus(), "it takes the place of the one that ended")
		require.Equal(t, pb.Message_E_UNAVAILABLE, register(crowded, "a", 0).GetStatus())
	})
}

// TestFailedRegistrationsAreNotCounted: a registration that the storage refuses does not
// count against its address.
func TestFailedRegistrationsAreNotCounted(t *testing.T) {
	at := netip.MustParseAddr("192.0.2.1")
	register := func(q *requests, p peer.ID) error {
		return q.add(t.Context(), Record{Namespace: "n", Peer: p, Deadline: time.Now().Add(time.Minute), Origin: at})
	}
	for _, err := range []error{ErrPeerLimit, ErrFull, errors.New("disk full")} {
		s := &failing{err: err}
		q := newTestRequests(t, s, WithMaxRegistrationsPerIP(1))
		for i := range 3 {
			require.ErrorIs(t, register(q, peer.ID(fmt.Sprint(i))), err)
		}
		q.storage = testStorage(t)
		require.NoError(t, register(q, "a"))
		require.ErrorIs(t, register(q, "b"), ErrOriginLimit)
	}
}

// quotas is a storage that records the limits it was given.
type quotas struct {
	Storage
	got Quota
}

func (q *quotas) Add(_ context.Context, _ Record, limits Quota) error {
	q.got = limits
	return nil
}

// TestQuota: the limits on registrations reach the storage.
func TestQuota(t *testing.T) {
	for want, opts := range map[Quota][]ServiceOption{
		{PerPeer: 1000, PerOrigin: 1000, Total: 1_000_000, Bytes: 1 << 30}: nil,
		{PerPeer: 7, PerOrigin: 8, Total: 70, Bytes: 1 << 40}: {
			WithMaxRegistrationsPerPeer(7), WithMaxRegistrationsPerIP(8), WithMaxRegistrations(70), WithMaxRegistrationBytes(1 << 40),
		},
		{}: {WithMaxRegistrationsPerPeer(0), WithMaxRegistrationsPerIP(0), WithMaxRegistrations(0), WithMaxRegistrationBytes(0)},
	} {
		s := new(quotas)
		require.NoError(t, newTestRequests(t, s, opts...).add(t.Context(), Record{}))
		require.Equal(t, want, s.got)
	}
}

// TestHeldStreams: a stream that announces the largest request and sends nothing reserves
// only that much memory, ends by itself and leaves nothing behind.
func TestHeldStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := &bookkeeper{Host: hosts[0]}
		startPoint(t, point, testStorage(t))
		connect(t, hosts[1], point)
		const streams = maxStreamsPerPeer
		for range streams {
			_, err := openRaw(t, hosts[1], point.ID()).Write(protowire.AppendVarint(nil, uint64(wire.Waku.MaxRequest)))
			require.NoError(t, err)
		}
		time.Sleep(time.Second / 2)
		require.EqualValues(t, streams, point.streams.Load())
		require.EqualValues(t, streams*requestMemory, point.memory.Load())
		time.Sleep(firstRequestTimeout)
		require.Zero(t, point.streams.Load())
		require.Zero(t, point.memory.Load())
	})
}

// TestStreamsOfOnePeer: one peer gets no more streams than the resource manager allows it,
// and other peers still get theirs.
func TestStreamsOfOnePeer(t *testing.T) {
	for name, libp2ps := range map[string]bool{"libp2p's limits": true, "a point's": false} {
		t.Run(name, func(t *testing.T) {
			config, most := rcmgr.DefaultLimits, 64+4*8 // for as much memory as there may be
			if !libp2ps {
				Limits(&config)
				most = maxStreamsPerPeer
			}
			manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(config.Scale(8<<30, 4096)))
			require.NoError(t, err)
			point := &bookkeeper{Host: newHost(t, libp2p.ResourceManager(manager))}
			attacker, honest := newHost(t), newHost(t)
			startPoint(t, point, testStorage(t))
			connect(t, attacker, point)
			connect(t, honest, point)
			for range 2 * most {
				if st, err := attacker.NewStream(t.Context(), point.ID(), RendezvousID_v001); err == nil {
					_, _ = st.Write([]byte{5})
				}
			}
			require.LessOrEqual(t, int(point.streams.Load()), most)
			require.Equal(t, pb.Message_OK, openRaw(t, honest, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
		})
	}
}

// TestStreamsInService: one peer has a bounded number of streams in service, even if the
// resource manager allows more. Other peers keep their full time.
func TestStreamsInService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 3)
		point, attacker, honest := &bookkeeper{Host: hosts[0]}, hosts[1], hosts[2]
		startPoint(t, point, testStorage(t), WithRateLimit(0, 0))
		connect(t, attacker, point)
		connect(t, honest, point)
		slow := openRaw(t, honest, point.ID())
		_, err := slow.Write([]byte{5})
		require.NoError(t, err)
		for range 2 * maxStreamsPerPeer {
			_, err := openRaw(t, attacker, point.ID()).Write([]byte{5})
			require.NoError(t, err)
		}
		time.Sleep(100 * time.Millisecond)
		require.EqualValues(t, maxStreamsPerPeer+1, point.streams.Load())
		last := openRaw(t, attacker, point.ID())
		_, err = last.next()
		require.Equal(t, network.StreamResourceLimitExceeded, resetCodeOf(t, err))

		time.Sleep(firstRequestTimeout - time.Second)
		require.EqualValues(t, maxStreamsPerPeer+1, point.streams.Load(), "every stream keeps its full time")
		time.Sleep(time.Second)
		require.Zero(t, point.streams.Load())
		require.Equal(t, pb.Message_OK, openRaw(t, attacker, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus(),
			"streams that have ended do not count")
	})
}

// TestSlowHonestReader: a peer that takes nearly all of its time to read an answer gets all of
// it, although another identity has ninety answers that it hardly reads.
func TestSlowHonestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readers sync.WaitGroup
		t.Cleanup(readers.Wait) // after the hosts are closed
		hosts := simHosts(t, 3)
		point, attacker, honest := hosts[0], hosts[1], hosts[2]
		startPoint(t, point, biggest{})
		connect(t, attacker, point)
		connect(t, honest, point)
		for range 90 {
			st := openRaw(t, attacker, point.ID())
			_, err := st.Write(frameOf(t, discoverRequest("n", 0)))
			require.NoError(t, err)
			readers.Go(func() { // until the stream is reset
				for b := make([]byte, 100); ; time.Sleep(time.Second / 10) {
					if _, err := st.Read(b); err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Second / 10)
		slow := openRaw(t, honest, point.ID())
		_, err := slow.Write(frameOf(t, discoverRequest("n", 0)))
		require.NoError(t, err)
		begun := time.Now()
		var answer bytes.Buffer
		for chunk := make([]byte, 128<<10); ; time.Sleep((answerTimeout - time.Second) / 32) {
			n, err := slow.Read(chunk)
			answer.Write(chunk[:n])
			if m, e := readMessage(bufio.NewReader(bytes.NewReader(answer.Bytes()))); e == nil {
				require.Greater(t, len(m.GetDiscoverResponse().GetRegistrations()), 450)
				break
			}
			require.NoError(t, err, "after %v and %d bytes", time.Since(begun), answer.Len())
		}
		require.Greater(t, time.Since(begun), answerTimeout/2, "it is slow")
	})
}

// TestReaderThatDoesNotRead: a peer holds at most two large answers at a time, however
// many it requests. Their memory is reserved, including the envelopes that the storage has
// copied, and is released when the peer does not read.
func TestReaderThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := &bookkeeper{Host: hosts[0]}
		startPoint(t, point, biggest{}, WithEgressLimit(0, 0))
		connect(t, hosts[1], point)
		const streams = 20
		for range streams {
			frame := frameOf(t, discoverRequest("n", 0))
			_, err := openRaw(t, hosts[1], point.ID()).Write(frame)
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		require.EqualValues(t, streams, point.streams.Load())
		require.EqualValues(t, limit.MaxLargeDraws*(discoverMemory+MaxDiscoverLimit*(peerrecord.MaxSize+MaxNamespaceSize)), point.memory.Load())
		require.Less(t, discoverMemory, 200<<10)
		time.Sleep(answerTimeout)
		require.EqualValues(t, streams-limit.MaxLargeDraws, point.streams.Load(), "the other streams were refused")
		require.Zero(t, point.memory.Load())
	})
}

// biggest is a storage full of the longest possible records.
type biggest struct{ Storage }

func (biggest) Sample(_ context.Context, _ string, n, _ int) ([]Record, error) {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Namespace: strings.Repeat("n", MaxNamespaceSize),
			Envelope:  make([]byte, peerrecord.MaxSize),
			Deadline:  time.Now().Add(MaxTTL),
		}
	}
	return records, nil
}

// TestLongestRecords: an answer of the longest records is cut to the size that a client
// reads, and arrives.
func TestLongestRecords(t *testing.T) {
	for _, transport := range []string{overTCP, overQUIC} {
		point, h := newHostOver(t, transport), newHostOver(t, transport)
		startPoint(t, point, biggest{})
		connect(t, h, point)
		d := openRaw(t, h, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse()
		require.Equal(t, pb.Message_OK, d.GetStatus())
		require.Greater(t, len(d.GetRegistrations()), 450)
	}
}

// TestPaddedRecord: a validly signed record with an unknown field as padding is refused,
// and the namespace is unchanged.
func TestPaddedRecord(t *testing.T) {
	point, h := newHost(t), newHost(t)
	s := testStorage(t)
	startPoint(t, point, s)
	connect(t, h, point)
	fill(t, s, "n", 3)
	pad := func(n int) []byte {
		return protowire.AppendBytes(protowire.AppendTag(ownEnvelope(t, h), 99, protowire.BytesType), make([]byte, n))
	}
	st := openRaw(t, h, point.ID())
	require.Equal(t, pb.Message_E_INVALID_PEER_INFO, st.ask(registerRequest("n", pad(peerrecord.MaxSize), 0)).GetRegisterResponse().GetStatus())
	frame := frameOf(t, registerRequest("n", pad(3<<20), 0))
	_, _ = st.Write(frame) // until it is reset
	_, err := st.next()
	require.Equal(t, network.StreamProtocolViolation, resetCodeOf(t, err))
	require.Len(t, openRaw(t, h, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetRegistrations(), 3)
}

// hoarder is a host that records its handlers.
type hoarder struct {
	host.Host
	handler network.StreamHandler
}

func (h *hoarder) SetStreamHandler(id protocol.ID, handler network.StreamHandler) {
	h.handler = handler
	h.Host.SetStreamHandler(id, handler)
}

func (h *hoarder) RemoveStreamHandler(protocol.ID) {}

// TestHandlerAfterStop: a stream is reset if its handler is called after Stop, as happens
// when it was still being negotiated.
func TestHandlerAfterStop(t *testing.T) {
	point, h := &hoarder{Host: newHost(t)}, newHost(t)
	service := startPoint(t, point, testStorage(t))
	connect(t, h, point)
	require.Equal(t, pb.Message_OK, openRaw(t, h, point.ID()).ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
	service.Stop()
	st := openRaw(t, h, point.ID())
	frame := frameOf(t, discoverRequest("n", 0))
	_, err := st.Write(frame)
	require.NoError(t, err)
	_, err = st.next()
	require.Equal(t, network.StreamShutdown, resetCodeOf(t, err))
}

// TestStopDuringStall: Stop does not wait for a peer that does not read its answer.
func TestStopDuringStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		point := &bookkeeper{Host: hosts[0]}
		service := startPoint(t, point, biggest{})
		connect(t, hosts[1], point)
		for range 5 {
			frame := frameOf(t, discoverRequest("n", 0))
			_, err := openRaw(t, hosts[1], hosts[0].ID()).Write(frame)
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		begun := time.Now()
		service.Stop()
		require.LessOrEqual(t, time.Since(begun), 2*stopTimeout)
		require.Zero(t, point.streams.Load())
		require.Zero(t, point.memory.Load())
	})
}

// panicking is a storage with a bug.
type panicking struct{ Storage }

func (panicking) Sample(context.Context, string, int, int) ([]Record, error) { panic("a bug") }

// logged counts log records by level.
type logged struct {
	slog.Handler
	mu    sync.Mutex
	lines []slog.Record
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Level > slog.LevelDebug {
		l.lines = append(l.lines, r)
	}
	return nil
}

// countLogs counts the log records of this package until the test ends.
func countLogs(t testing.TB) *logged {
	t.Helper()
	before, l := logging.Log, new(logged)
	logging.Log = slog.New(l)
	t.Cleanup(func() { logging.Log = before })
	return l
}

// TestPanics: a panic ends its stream and nothing else, and is logged once a minute.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := countLogs(t)
		hosts := simHosts(t, 2)
		point := &bookkeeper{Host: hosts[0]}
		startPoint(t, point, panicking{testStorage(t)})
		connect(t, hosts[1], hosts[0])
		provoke := func() {
			st := openRaw(t, hosts[1], hosts[0].ID())
			frame := frameOf(t, discoverRequest("n", 0))
			_, err := st.Write(frame)
			require.NoError(t, err)
			_, err = st.next()
			require.ErrorIs(t, err, network.ErrReset)
		}
		for range 10 {
			provoke()
		}
		require.Len(t, lines.lines, 1)
		time.Sleep(time.Minute)
		provoke()
		require.Len(t, lines.lines, 2)
		lines.lines[1].Attrs(func(a slog.Attr) bool {
			if a.Key == "times" {
				require.EqualValues(t, 10, a.Value.Int64())
			}
			return true
		})
		require.Zero(t, point.memory.Load())
		r := openRaw(t, hosts[1], hosts[0].ID()).ask(registerRequest("n", ownEnvelope(t, hosts[1]), 0)).GetRegisterResponse()
		require.Equal(t, pb.Message_OK, r.GetStatus(), "the point still serves")
	})
}

// TestTracerPanics: a panic of a tracer does not reach the host either.
func TestTracerPanics(t *testing.T) {
	lines := countLogs(t)
	point, h := newHost(t), newHost(t)
	tracer := new(panickingTracer)
	startPoint(t, point, testStorage(t), WithMetricsTracer(tracer))
	connect(t, h, point)
	c := NewClient(h)
	for _, at := range []string{"opened", "ended", ""} {
		tracer.at.Store(&at)
		_, err := c.Register(t.Context(), point.ID(), "n", 0)
		if at == "opened" {
			require.ErrorIs(t, err, network.ErrReset)
		} else {
			require.NoError(t, err, at)
		}
	}
	require.Len(t, lines.lines, 1, "once a minute")
}

type panickingTracer struct {
	noMetrics
	at atomic.Pointer[string]
}

func (p *panickingTracer) StreamOpened() { p.fail("opened") }

func (p *panickingTracer) StreamEnded(StreamEnded) { p.fail("ended") }

func (p *panickingTracer) fail(at string) {
	if *p.at.Load() == at {
		panic("a bug")
	}
}

// TestNoMemory: if there is no memory for an answer, the refusal says so. It does not say
// that the peer asks too often.
func TestNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		reg := prometheus.NewRegistry()
		startPoint(t, &bookkeeper{Host: hosts[0], full: true}, testStorage(t), WithMetrics(reg))
		connect(t, hosts[1], hosts[0])
		st := openRaw(t, hosts[1], hosts[0].ID())
		r := st.ask(discoverRequest("n", MaxDiscoverLimit)).GetDiscoverResponse()
		require.Equal(t, pb.Message_E_UNAVAILABLE, r.GetStatus())
		require.Contains(t, r.GetStatusText(), "memory")
		require.InDelta(t, 1, gathered(t, reg)["refused_total{resource_limit}"], 0)
	})
}

// TestQuietLog: no peer can cause a log record above debug. A failing storage is logged
// once a minute.
func TestQuietLog(t *testing.T) {
	lines := countLogs(t)
	point, h := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t), WithRateLimit(1000, 20))
	connect(t, h, point)
	for _, sent := range []string{"", "\x05", "\x05abc", "\x80\x80\x80\x80\x10", "\x02\x08\x11", "\x03\xff\xff\xff", "\x00", strings.Repeat("\x00", 100)} {
		st := openRaw(t, h, point.ID())
		_, err := st.Write([]byte(sent))
		require.NoError(t, err)
		_ = st.CloseWrite() // it may have been reset
		for err == nil {
			_, err = st.next()
		}
	}
	require.Empty(t, lines.lines)

	broken := newHost(t)
	startPoint(t, broken, failing{err: errors.New("disk full")})
	connect(t, h, broken)
	for range 10 {
		st := openRaw(t, h, broken.ID())
		require.Equal(t, pb.Message_E_INTERNAL_ERROR, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
	}
	require.Len(t, lines.lines, 1)
}

// TestStrangeRecords: valid records that look invalid.
func TestStrangeRecords(t *testing.T) {
	point, h := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t))
	connect(t, h, point)
	key := h.Peerstore().PrivKey(h.ID())
	otherKey, other := newKey(t, crypto.Ed25519)
	rec := peer.NewPeerRecord()
	rec.PeerID, rec.Addrs = h.ID(), info(h).Addrs
	st := openRaw(t, h, point.ID())
	for _, seq := range []uint64{1<<64 - 1, 0, 1, uint64(time.Now().Add(1000 * time.Hour).UnixNano())} {
		rec.Seq = seq
		envelope := sealRecord(t, key, rec)
		require.Equal(t, pb.Message_OK, st.ask(registerRequest("n", envelope, 0)).GetRegisterResponse().GetStatus(), "seq %d", seq)
		found := st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetRegistrations()
		require.Len(t, found, 1)
		require.True(t, bytes.Equal(envelope, found[0].GetSignedPeerRecord()), "the last one counts, regardless of its seq")
	}
	replayed := seal(t, otherKey, other, addr)
	require.Equal(t, pb.Message_E_INVALID_PEER_INFO, st.ask(registerRequest("n", replayed, 0)).GetRegisterResponse().GetStatus())
}

// TestLastPlace: a peer gets as many registrations as the quota allows. The next is
// refused, and every refresh is accepted.
func TestLastPlace(t *testing.T) {
	point, h := newHost(t), newHost(t)
	startPoint(t, point, testStorage(t), WithRateLimit(0, 0))
	connect(t, h, point)
	st := openRaw(t, h, point.ID())
	envelope := ownEnvelope(t, h)
	register := func(i int) Status {
		return st.ask(registerRequest(fmt.Sprint(i), envelope, 0)).GetRegisterResponse().GetStatus()
	}
	for i := range 1000 {
		require.Equal(t, pb.Message_OK, register(i), "registration %d", i+1)
	}
	require.Equal(t, pb.Message_E_NOT_AUTHORIZED, register(1000))
	require.Equal(t, pb.Message_OK, register(0), "a refresh")
}
