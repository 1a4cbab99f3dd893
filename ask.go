package rendezvous

// Asking rendezvous points: the best ones of a namespace, the next where one fails or is
// slow, and whose fault a failure is.

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// hedge is how long a point may take before the next is asked beside it, so
	// that a silent one costs a moment and not a request's whole time.
	hedge = time.Second
	// answerTimeout bounds a request to a point that the host is connected to.
	answerTimeout = 2 * time.Second
	// askTimeout bounds asking as a whole, however many points are silent.
	askTimeout = 8 * time.Second
)

// ask makes a request at the best points of a namespace, want of them at the same
// time, and at the next best for each that fails or is slow. It returns which
// answered, when want have, when no point is left to ask, or when enough have and
// those that were slow got a second chance; the error says what went wrong where
// none answered.
func (p *points) ask(ctx context.Context, ns string, want, enough int, request func(ctx context.Context, point peer.ID) error) ([]peer.ID, error) {
	chosen := p.choose(ns)
	if len(chosen) == 0 {
		return nil, ErrNoPoints
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	type result struct {
		point peer.ID
		err   error
	}
	results := make(chan result)
	slow := time.NewTicker(hedge)
	defer slow.Stop()

	var (
		running, beside, waited int // beside: how many to ask on top of want, for the slow ones
		answered                []peer.ID
		failures                []error
	)
	for {
		for len(chosen) > 0 && len(answered) < want && len(answered)+running < want+beside && ctx.Err() == nil {
			point := chosen[0]
			chosen = chosen[1:]
			running++
			go func() { results <- result{point, p.try(ctx, point, request)} }()
		}
		if running == 0 {
			break
		}
		select {
		case r := <-results:
			running--
			if r.err != nil {
				failures = append(failures, r.err)
				continue
			}
			answered = append(answered, r.point)
			if len(answered) == enough {
				slow.Reset(hedge)
			}
		case <-slow.C:
			beside++
			if len(answered) >= enough {
				waited++
			}
			if waited == 2 || len(answered) >= want {
				cancel()
			}
		}
	}
	if len(answered) == 0 {
		return nil, errors.Join(append(failures, ctx.Err())...)
	}
	return answered, nil
}

// try makes a request at a point and notes how it went. One that was cut off
// within its first moment says nothing of the point.
func (p *points) try(ctx context.Context, point peer.ID, request func(ctx context.Context, point peer.ID) error) error {
	begun := time.Now()
	patience := requestTimeout
	if p.host.Network().Connectedness(point) == network.Connected {
		patience = answerTimeout
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := request(within, point)
	switch {
	case err == nil || refusesThis(err):
		p.forgive(point)
	case ctx.Err() == nil || time.Since(begun) >= hedge:
		p.blame(point, begun)
	}
	return err
}

// refusesThis reports whether a point is well and does not want this request.
func refusesThis(err error) bool {
	return errors.Is(err, ErrInvalidNamespace) || errors.Is(err, ErrInvalidPeerInfo) ||
		errors.Is(err, ErrInvalidTTL) || errors.Is(err, ErrNotAuthorized)
}
