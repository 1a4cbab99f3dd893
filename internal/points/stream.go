package points

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// requestTimeout bounds a request, including the dial.
const requestTimeout = 5 * time.Second

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
	// Urgent requests go before others where the point's pace makes requests wait.
	Urgent bool
	// Price is how many tokens of the point's pace the request takes. 0 means 1.
	Price float64
}

// maxPooledFrame is the size in bytes up to which the buffer of a frame is used
// again. Longer frames are rare.
const maxPooledFrame = 64 << 10

// exchange is the memory for one request and its answer.
type exchange struct {
	stream   network.Stream
	watchdog *watchdog // of the stream's connection
	reader   *bufio.Reader
	frame    []byte
	sent     time.Time     // when the request was sent
	took     time.Duration // from then to the answer, the first one if there are several
}

var exchanges = sync.Pool{
	New: func() any { return &exchange{reader: bufio.NewReaderSize(nil, 4<<10)} },
}

func newExchange() *exchange { return exchanges.Get().(*exchange) }

// release makes the memory available to other requests.
func (e *exchange) release() {
	e.reader.Reset(nil)
	e.stream, e.watchdog = nil, nil
	if cap(e.frame) > maxPooledFrame {
		e.frame = nil
	}
	exchanges.Put(e)
}

// Read reads from the stream.
func (e *exchange) Read(b []byte) (int, error) {
	n, err := e.stream.Read(b)
	if n > 0 {
		e.watchdog.hear()
	}
	return n, err
}

// do makes a request on a stream and reads the answer into e.frame.
func (e *exchange) do(ctx context.Context, st network.Stream, r Request) error {
	return onStream(ctx, st, func() error {
		e.frame = r.Append(e.frame[:0], st.Protocol())
		if err := e.send(st, e.frame); err != nil {
			return err
		}
		return e.receive(r.MaxAnswer)
	})
}

// onStream calls request. It leaves the stream open for the next request, or resets it if
// there is an error or ctx ends.
//
// The stream is never closed before the answer was read: some points reset a stream when
// its sender closes it, and the reset overtakes the answer.
func onStream(ctx context.Context, st network.Stream, request func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	err := request()
	if err == nil {
		return nil
	}
	_ = st.Reset()
	if ctx.Err() != nil {
		return fmt.Errorf("wait for answer: %w", ctx.Err())
	}
	return err
}

// send sends one request or more.
func (e *exchange) send(st network.Stream, requests []byte) error {
	e.stream = st
	e.reader.Reset(e)
	e.sent, e.took = time.Now(), 0
	if _, err := st.Write(requests); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// receive reads the next answer into e.frame.
func (e *exchange) receive(maxAnswer int) error {
	if _, err := e.reader.Peek(1); err == nil && e.took == 0 {
		e.took = time.Since(e.sent)
	}
	frame, err := wire.ReadFrame(e.reader, e.frame, maxAnswer)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	e.frame = frame
	return nil
}

// receiveWithin is receive, of an answer that must begin within a time.
func (e *exchange) receiveWithin(within time.Duration, maxAnswer int) error {
	if e.reader.Buffered() == 0 {
		_ = e.stream.SetReadDeadline(time.Now().Add(within)) // a stream that takes no deadline, such as a mock, has none
		if _, err := e.reader.Peek(1); err != nil {
			return fmt.Errorf("wait for answer: %w", err)
		}
		_ = e.stream.SetReadDeadline(time.Time{})
	}
	return e.receive(maxAnswer)
}

// clean reports whether nothing follows the answer that was read, so that the stream can
// be used again.
func (e *exchange) clean() bool { return e.reader.Buffered() == 0 }
