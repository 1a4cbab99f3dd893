package points

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// Request is one request to a point.
type Request struct {
	// Append appends the request to dst, as a frame with its length, in the protocol
	// that the point speaks. It may be called more than once.
	Append func(dst []byte, id protocol.ID) []byte
	// MaxAnswer is how long the answer may be, in bytes without its length. A longer
	// one is not read, and is an error.
	MaxAnswer int
	// Read reads the answer, without its length. The frame is valid until Read
	// returns. Its error is that of the request.
	Read func(frame []byte, id protocol.ID) error
}

// openStream opens a stream to a point whose addresses the host knows, over a relay if
// need be.
func openStream(ctx context.Context, c *Config, point peer.ID) (network.Stream, error) {
	ctx = network.WithAllowLimitedConn(ctx, c.Service)
	st, err := c.Host.NewStream(ctx, point, c.Protocols...)
	if err == nil || ctx.Err() != nil || c.Host.Network().Connectedness(point) != network.NotConnected {
		return st, err
	}
	// The host has backoffs of its own, for addresses that did not answer. They grow
	// to five minutes, and keep it from dialing a point that is back. A forced direct
	// dial ignores them. Its error is the one to return: the first may only say that
	// there is a backoff.
	if err := c.Host.Connect(network.WithForceDirectDial(ctx, c.Service), peer.AddrInfo{ID: point}); err != nil {
		return nil, err
	}
	return c.Host.NewStream(ctx, point, c.Protocols...)
}

// maxPooledFrame is how long a frame may have become in bytes if its buffer is to be
// used again. Longer ones are rare.
const maxPooledFrame = 64 << 10

// exchange is the memory for one request and its answer.
type exchange struct {
	reader *bufio.Reader
	frame  []byte
}

var exchanges = sync.Pool{
	New: func() any { return &exchange{reader: bufio.NewReaderSize(nil, 4<<10)} },
}

func newExchange() *exchange { return exchanges.Get().(*exchange) }

// release makes the memory available to other requests.
func (e *exchange) release() {
	e.reader.Reset(nil)
	if cap(e.frame) > maxPooledFrame {
		e.frame = nil
	}
	exchanges.Put(e)
}

// do sends a request on a stream and reads the answer into e.frame. When ctx ends, the
// stream is reset. The stream is closed only after the answer was read: some points reset
// a stream when its sender closes it, and the reset overtakes the answer.
func (e *exchange) do(ctx context.Context, st network.Stream, service string, r Request) error {
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	if err := e.sendAndReceive(st, service, r); err != nil {
		_ = st.Reset()
		if ctx.Err() != nil {
			return fmt.Errorf("wait for answer: %w", ctx.Err())
		}
		return err
	}
	_ = st.Close()
	return nil
}

func (e *exchange) sendAndReceive(st network.Stream, service string, r Request) error {
	if err := st.Scope().SetService(service); err != nil {
		return fmt.Errorf("attach stream to service: %w", err)
	}
	e.frame = r.Append(e.frame[:0], st.Protocol())
	if _, err := st.Write(e.frame); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	e.reader.Reset(st)
	frame, err := wire.ReadFrame(e.reader, e.frame, r.MaxAnswer)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	e.frame = frame
	return nil
}
