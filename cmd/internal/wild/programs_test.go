//go:build linux

package main

// The parts of the programs that need no network.

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// TestDetectorOfAHost checks that a host has libp2p's default black hole detector unless its
// node is without it.
func TestDetectorOfAHost(t *testing.T) {
	l := newLayout(layoutOptions{})
	w := &world{network: &topology{layout: l}, dir: t.TempDir()}
	for _, n := range l.nodes {
		_, err := w.makeKey(n.name)
		require.NoError(t, err)
		opts, err := w.peerConfig(n).options()
		require.NoError(t, err)
		var config libp2p.Config
		require.NoError(t, config.Apply(opts...))
		require.Nil(t, config.UDPBlackHoleSuccessCounter, n.name)
		require.Equal(t, n.noDetector, config.CustomUDPBlackHoleSuccessCounter, "%s: that this is nil is not the default", n.name)
	}
}

func TestHostilePointLies(t *testing.T) {
	envelopes, err := makeUp(20)
	require.NoError(t, err)
	asker, point := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- lie(point, envelopes) }()
	in := bufio.NewReader(asker)
	require.NoError(t, writeMessage(asker, &pb.Message{Type: pb.Message_REGISTER, Register: &pb.Message_Register{Ns: "x"}}))
	answer, err := readMessage(in)
	require.NoError(t, err)
	require.Equal(t, pb.Message_REGISTER_RESPONSE, answer.GetType())
	require.EqualValues(t, 20, answer.GetRegisterResponse().GetTtl())

	for _, test := range []struct{ limit, want int }{{5, 5}, {0, 20}, {1000, 20}} {
		require.NoError(t, writeMessage(asker, &pb.Message{Type: pb.Message_DISCOVER, Discover: &pb.Message_Discover{Ns: "x", Limit: int64(test.limit)}}))
		answer, err = readMessage(in)
		require.NoError(t, err)
		peers, err := readAnswer(answer) // which checks every signature
		require.NoError(t, err)
		require.Len(t, peers, test.want)
	}
	require.NoError(t, asker.Close())
	if err := <-ended; err != nil {
		require.ErrorIs(t, err, io.ErrClosedPipe)
	}
}

func TestMadeUpPeersAreNowhere(t *testing.T) {
	envelopes, err := makeUp(10)
	require.NoError(t, err)
	for _, e := range envelopes {
		_, rec, err := record.ConsumeEnvelope(e, peer.PeerRecordEnvelopeDomain)
		require.NoError(t, err)
		made, ok := rec.(*peer.PeerRecord)
		require.True(t, ok)
		require.Len(t, made.Addrs, 1)
		require.Regexp(t, `^/ip4/192\.0\.0\.(19[2-9]|2\d\d)/tcp/\d+$`, made.Addrs[0].String())
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, m := range []*pb.Message{
		{},
		{Type: pb.Message_DISCOVER_RESPONSE},
		{Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: new(pb.Message_RegisterResponse)},
		{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: &pb.Message_DiscoverResponse{Status: pb.Message_E_UNAVAILABLE}},
		{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: &pb.Message_DiscoverResponse{Registrations: []*pb.Message_Register{{Ns: "x"}}}},
	} {
		_, err := readAnswer(m)
		require.Error(t, err, "%v", m)
	}
}

func TestCableDelaysPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 10 * time.Millisecond
		in, from := io.Pipe()
		to, out := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- carry(ctx, in, out, delay) }()
		for range 3 {
			sent := time.Now()
			_, err := from.Write([]byte("packet"))
			require.NoError(t, err)
			b := make([]byte, 100)
			n, err := to.Read(b)
			require.NoError(t, err)
			require.Equal(t, "packet", string(b[:n]))
			require.Equal(t, delay, time.Since(sent))
		}
		cancel()
		require.NoError(t, from.Close())
		require.ErrorIs(t, <-ended, io.EOF)
	})
}

func shell(t *testing.T, script string) program {
	t.Helper()
	return program{name: "x", args: []string{"sh", "-c", script}, log: filepath.Join(t.TempDir(), "x.log"), ended: func(*process) {}}
}

func TestProcessThatEndsByItself(t *testing.T) {
	p := shell(t, "echo one; echo two; echo why >&2; exit 3")
	var lines []string
	p.lines = func(b []byte) error { lines = append(lines, string(b)); return nil }
	ended := make(chan *process, 1)
	p.ended = func(p *process) { ended <- p }
	proc, err := start(p)
	require.NoError(t, err)
	<-proc.done
	require.Same(t, proc, <-ended)
	require.ErrorContains(t, proc.err, "exit status 3")
	require.Equal(t, []string{"one", "two"}, lines)
	require.Equal(t, "why", proc.lastWords())
}

func TestProcessThatIsKilledWhileStopped(t *testing.T) {
	p := shell(t, "echo begun; exec sleep 1000")
	begun := make(chan struct{})
	p.lines = func([]byte) error { close(begun); return nil }
	var byItself atomic.Bool
	p.ended = func(*process) { byItself.Store(true) }
	proc, err := start(p)
	require.NoError(t, err)
	<-begun
	require.NoError(t, proc.signal(syscall.SIGSTOP))
	proc.kill()
	require.False(t, byItself.Load())
	require.ErrorContains(t, proc.signal(syscall.SIGCONT), "x")
	proc.kill() // a second time does nothing
}

func TestProcessWhoseLinesAreUnreadable(t *testing.T) {
	p := shell(t, "echo panic; exec sleep 1000")
	p.lines = func(b []byte) error { _, err := parseLine(b); return err }
	proc, err := start(p)
	require.NoError(t, err)
	<-proc.done
	require.ErrorContains(t, proc.err, `read line "panic"`)
}

func TestProgramThatIsNotThere(t *testing.T) {
	p := shell(t, "")
	p.args = []string{filepath.Join(t.TempDir(), "nothing")}
	_, err := start(p)
	require.ErrorContains(t, err, "start x")
}
