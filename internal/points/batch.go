package points

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxBatch bounds the requests of a batch.
	maxBatch = 64
	// batchTime bounds how long the answers to a batch take, if each takes as long as the
	// point's answers usually do: a point answers the requests on a stream in order.
	batchTime = time.Second
	// maxBrokenBatches is how many batches in a row may break off after their first answer, or
	// get no answer for a second, before no more are sent for noBatchTime. Some points read one
	// request at a time. Others were just slow.
	maxBrokenBatches = 3
	noBatchTime      = 10 * time.Minute
)

// ErrNotAnswered is the error of a request that was not sent together with others, or was sent and
// not answered. It can be made again alone.
var ErrNotAnswered = errors.New("request was not answered together with others")

// errBatch means that a batch was answered in part. The connection works.
var errBatch = errors.New("batch broke off")

// batch is requests that are sent in one write on a kept stream, and answered in order.
type batch struct {
	stream   *keptStream
	requests []Request
	errs     []error // of the requests that were answered: what their Read has returned
}

// exchange sends the requests and reads the answers, until the stream fails. After the first
// answer, the next must begin within rest.
func (b *batch) exchange(e *exchange, rest time.Duration) error {
	e.frame = e.frame[:0]
	for _, r := range b.requests {
		e.frame = r.Append(e.frame, b.stream.Protocol())
	}
	if err := e.send(b.stream, e.frame); err != nil {
		return err
	}
	for i, r := range b.requests {
		if i == 0 {
			if err := e.receive(r.MaxAnswer); err != nil {
				return err
			}
		} else if err := e.receiveWithin(rest, r.MaxAnswer); err != nil {
			return fmt.Errorf("%w: %d of %d requests were answered: %w", errBatch, i, len(b.requests), err)
		}
		b.errs = append(b.errs, r.Read(e.frame, b.stream.Protocol()))
	}
	return nil
}
