package points

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
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
	// Urgent requests go before others where the point's pace makes requests wait.
	Urgent bool
	// Price is how many tokens of the point's pace the request takes. 0 means 1.
	Price float64
}

// errSilent means that nothing came back on a connection in time.
var errSilent = errors.New("connection is silent")

// maxPooledFrame is the size in bytes up to which the buffer of a frame is used
// again. Longer frames are rare.
const maxPooledFrame = 64 << 10

// exchange is the memory for one request and its answer.
type exchange struct {
	reader *bufio.Reader
	frame  []byte
	sent   time.Time     // when the request was sent
	took   time.Duration // from then to the answer, the first one if there are several
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

// do makes a request on a stream and reads the answer into e.frame. If silence is not 0 and
// nothing comes back within that time, the error is errSilent.
func (e *exchange) do(ctx context.Context, st network.Stream, silence time.Duration, r Request) error {
	return onStream(ctx, st, func() error {
		e.frame = r.Append(e.frame[:0], st.Protocol())
		if err := e.send(st, e.frame); err != nil {
			return err
		}
		return e.receive(st, silence, r.MaxAnswer)
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
	e.reader.Reset(st)
	e.sent, e.took = time.Now(), 0
	if _, err := st.Write(requests); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// receive reads the next answer into e.frame. If silence is not 0 and nothing comes back
// within that time, the error is errSilent.
func (e *exchange) receive(st network.Stream, silence time.Duration, maxAnswer int) error {
	if err := e.await(st, silence); err != nil {
		return fmt.Errorf("%w: no answer within %s", err, silence)
	}
	if e.took == 0 {
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

// await waits for the next byte. Its only error is errSilent; reading the byte shows others.
func (e *exchange) await(st network.Stream, silence time.Duration) error {
	if silence == 0 || e.reader.Buffered() > 0 {
		_, _ = e.reader.Peek(1)
		return nil
	}
	_ = st.SetReadDeadline(time.Now().Add(silence)) // a stream that takes no deadline, such as a mock, has none
	_, err := e.reader.Peek(1)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errSilent
	}
	_ = st.SetReadDeadline(time.Time{})
	return nil
}

// clean reports whether nothing follows the answer that was read, so that the stream can
// be used again.
func (e *exchange) clean() bool { return e.reader.Buffered() == 0 }
