package points

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// batchDelay is how long a request waits for others to be sent with it. Refreshes that
	// are due at the same time come within a few milliseconds.
	batchDelay = 5 * time.Millisecond
	// batchTime bounds how long the answers to a batch take, if each takes as long as the
	// point's answers usually do: a point answers the requests on a stream in order.
	batchTime = 2 * time.Second
	// maxBrokenBatches is how many batches in a row may break off after their first answer
	// before no more are sent: some points read one request at a time.
	maxBrokenBatches = 3
)

// batches are the requests to one point that are sent together. So the registrations of a
// host in many namespaces wake it and the point once, and not once for each namespace.
type batches struct {
	mu     sync.Mutex
	open   *batch // requests can join it; nil if there is none
	broken int    // in a row
}

// batch is requests that are sent in one write on a kept stream, and answered in order.
type batch struct {
	stream    *keptStream
	frames    []byte // the requests
	maxAnswer int
	waiting   []chan answer // one for each request, with room for its answer
}

// errBatch means that a batch was answered in part.
var errBatch = errors.New("batch broke off")

// answer is the answer to a request of a batch, or why there is none.
type answer struct {
	frame []byte
	err   error
}

// join adds a request to the open batch. If there is none, it opens one, on the stream that
// take returns, and first is true: the caller must send the batch. The batch is nil if there
// is no stream, or batches are of no use at this point. No batch has more than most requests.
func (s *batches) join(r Request, most int, take func() *keptStream) (b *batch, own <-chan answer, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		if most < 2 || s.broken >= maxBrokenBatches {
			return nil, nil, false
		}
		st := take()
		if st == nil {
			return nil, nil, false
		}
		s.open, first = &batch{stream: st}, true
	}
	b = s.open
	answered := make(chan answer, 1)
	b.frames = r.Append(b.frames, b.stream.Protocol())
	b.maxAnswer = max(b.maxAnswer, r.MaxAnswer)
	b.waiting = append(b.waiting, answered)
	if len(b.waiting) >= most {
		s.open = nil
	}
	return b, answered, first
}

// collect waits for requests to join the batch, until batchDelay has passed or ctx ends.
// After that, none does.
func (s *batches) collect(ctx context.Context, b *batch) {
	timer := time.NewTimer(batchDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == b {
		s.open = nil
	}
}

// sent records whether all requests of a batch were answered, of which some were.
func (s *batches) sent(whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken++; whole {
		s.broken = 0
	}
}

// exchange sends the batch and hands out the answers. It returns how many requests were
// answered before an error.
func (b *batch) exchange(e *exchange, silence time.Duration) (answered int, err error) {
	if err := e.send(b.stream, b.frames); err != nil {
		return 0, err
	}
	for _, w := range b.waiting {
		if err := e.receive(b.stream, silence, b.maxAnswer); err != nil {
			if answered > 0 { // the connection works
				err = fmt.Errorf("%w: %d of %d requests were answered: %s", errBatch, answered, len(b.waiting), err)
			}
			return answered, err
		}
		w <- answer{frame: bytes.Clone(e.frame)}
		answered++
	}
	return answered, nil
}

// fail tells the requests after those that were answered why they were not.
func (b *batch) fail(answered int, err error) {
	for _, w := range b.waiting[answered:] {
		w <- answer{err: err}
	}
}
