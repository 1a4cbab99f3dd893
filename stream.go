package rendezvous

// A stream to a point: how long its peer may take, what it takes of the resource
// manager's books, and the frames of its requests.

import (
	"bufio"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// Every wait for a remote peer is bounded: the one until it has sent a whole
// request, counted from the last answer, and the one until it has taken an answer.
const (
	streamTimeout = 10 * time.Second
	// crowd is how many streams may wait for a request at a time with all of
	// streamTimeout, and writingCrowd how many for their peer to take an answer;
	// those beyond have crowdedTimeout. That is plenty for a peer with something to
	// say, or that listens, and clears away a flood of silent or deaf streams
	// before they keep others out or fill the memory.
	crowd          = 256
	writingCrowd   = 64
	crowdedTimeout = time.Second
	// stopTimeout is what peers have, when the service stops, to take the answers
	// that are being written.
	stopTimeout = time.Second
)

// What a stream takes, for the resource manager's books. An entry there costs more
// than to answer a REGISTER does, so the small change is not booked: a stream with
// a small request or a small answer takes less than the muxer's own window for it,
// which is not booked either, and limits on streams bound both.
const (
	smallRequest = 4 << 10 // bytes
	smallSample  = 64      // registrations
	smallAnswer  = 16 << 10

	// requestMemory is reserved from a stream's first request that is not small
	// until the stream ends.
	requestMemory = maxRequestSize
	// discoverMemory is reserved while a DISCOVER is answered that asks for more than
	// a small sample: a buffer, through which an answer of any size is written, and
	// the sample, without the envelopes that the storage has anyway.
	discoverMemory = bigAnswer + MaxDiscoverLimit*int(unsafe.Sizeof(listing{}))
	bigAnswer      = 64 << 10
)

// memoryFor is what answering a request takes, beyond what reading it took.
func (t *term) memoryFor(r *request) int {
	if r.kind == pb.Message_DISCOVER && grantLimit(r.discover.limit, t.config.discoverLimit) > smallSample {
		return discoverMemory
	}
	return 0
}

// timeFor counts one more that waits for its peer, and is how long it may.
func timeFor(waiting *atomic.Int32, crowd int32) time.Duration {
	if waiting.Add(1) > crowd {
		return crowdedTimeout
	}
	return streamTimeout
}

// inbound is a stream that is being served.
type inbound struct {
	stream   network.Stream
	caller   caller
	patience patience
	request  request // as read last, parts of the reader's frame
	*requestReader
}

// patience resets a stream whose peer lets the point wait for too long. One timer
// does for a whole stream: it is touched where time runs out sooner than it was
// set for, and looks by itself whether there has come to be more. A deadline of the
// stream's own would be a new timer for each request and each answer, which is a
// hundredth of REGISTER again.
type patience struct {
	stream network.Stream

	mu    sync.Mutex
	timer *time.Timer // nil before the first until
	rings time.Time   // when timer does, if it does
	due   time.Time   // when the peer's time is up, if that is what is waited for
	ended bool
}

// until gives the peer time for what is next.
func (p *patience) until(due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = due
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(time.Until(due), p.look)
	case p.rings.IsZero(), due.Before(p.rings):
		p.timer.Reset(time.Until(due))
	default:
		return
	}
	p.rings = due
}

// rest waits for nothing of the peer's.
func (p *patience) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = time.Time{}
}

// look resets the stream if time is up.
func (p *patience) look() {
	if p.isUp() {
		_ = p.stream.Reset()
	}
}

func (p *patience) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rings = time.Time{}
	if p.ended || p.due.IsZero() {
		return false
	}
	left := time.Until(p.due)
	if left > 0 {
		p.timer.Reset(left)
		p.rings = p.due
	}
	return left <= 0
}

// end stops looking.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// requestReader is what it takes to read requests from a stream.
type requestReader struct {
	*bufio.Reader
	frame    []byte
	reserved int   // bytes of the stream's scope
	out      meter // for the answers, to the same stream
}

var requestReaders = sync.Pool{
	New: func() any { return &requestReader{Reader: bufio.NewReaderSize(nil, 1<<10)} },
}

func (r *requestReader) release() {
	r.Reset(nil)
	r.out = meter{}
	requestReaders.Put(r)
}

// readFrame reads the frame of a request, once there is memory for it.
func (v *inbound) readFrame() error {
	size, err := readSize(v.Reader, maxRequestSize)
	if err != nil {
		return err
	}
	if size > smallRequest && v.reserved == 0 {
		if err := v.stream.Scope().ReserveMemory(requestMemory, network.ReservationPriorityAlways); err != nil {
			return fmt.Errorf("%w: %w", errResource, err)
		}
		v.reserved = requestMemory
	}
	frame, err := readBody(v.Reader, v.frame, size)
	if err == nil {
		v.frame = frame
	}
	return err
}

func (v *inbound) unreserve() {
	if v.reserved > 0 {
		v.stream.Scope().ReleaseMemory(v.reserved)
		v.reserved = 0
	}
}
