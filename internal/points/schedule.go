package points

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// maxGroup bounds how many are refreshed together, so that they do not wait long for each
	// other.
	maxGroup = 64
	// groupTimeout bounds how long that takes, because all wait for the slowest point. A refresh
	// alone turns to other points when one is slow.
	groupTimeout = 1500 * time.Millisecond
)

// Schedule refreshes a host's registrations in many namespaces. One timer serves all, and one
// goroutine refreshes each group of those that are due at the same time, because waking a goroutine for
// each costs nearly as much as the refresh. All methods may be called at the same time. The zero value
// is of no use.
type Schedule[T any] struct {
	begin   func(T) (together bool)
	refresh func(ctx context.Context, group []T)

	mu    sync.Mutex
	queue queue[T] // those that wait
	timer *time.Timer
}

// NewSchedule returns a Schedule that calls begin for each Refresher that is to be refreshed, and
// then refresh for groups of those for which begin has returned true. If begin returns false, it must
// end that Refresher's turn with Done or Go. The function refresh must do so for all in its group.
// Both functions may be called at the same time, but never for the same Refresher. The context of a
// group lasts for groupTimeout, and ends when one in it is no longer to be refreshed.
func NewSchedule[T any](begin func(T) (together bool), refresh func(ctx context.Context, group []T)) *Schedule[T] {
	s := &Schedule[T]{begin: begin, refresh: refresh}
	s.timer = time.AfterFunc(time.Hour, s.check)
	s.timer.Stop()
	return s
}

// Run refreshes r until ctx ends: first when it is woken or asked for, and then also when it is due.
// It returns when nothing is done for r any more. It must be called once.
func (s *Schedule[T]) Run(ctx context.Context, r *Refresher[T]) {
	s.start(ctx, r)
	<-ctx.Done()
	s.stop(r)
	<-r.ended
}

func (s *Schedule[T]) start(ctx context.Context, r *Refresher[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ctx = ctx
	s.enqueue(r)
}

func (s *Schedule[T]) stop(r *Refresher[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.ending = true
	switch {
	case !r.busy:
		s.finish(r)
	case r.cancel != nil:
		r.cancel()
	}
}

// Wake says that something may have happened, so that r is refreshed if it is Outdated. It does not
// block.
func (s *Schedule[T]) Wake(r *Refresher[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.woken = true
	s.enqueue(r)
}

// Ask waits for a refresh that begins after the call, and returns when to ask again. Calls that come
// at the same time share a refresh. The error is that of the refresh or of ctx, or [context.Canceled] if
// Run has ended.
func (s *Schedule[T]) Ask(ctx context.Context, r *Refresher[T]) (time.Duration, error) {
	answer := make(chan outcome, 1)
	s.ask(r, answer)
	select {
	case o := <-answer:
		return o.next, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-r.ended:
		return 0, context.Canceled
	}
}

func (s *Schedule[T]) ask(r *Refresher[T], answer chan outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.asks = append(r.asks, answer)
	s.enqueue(r)
}

// Done ends a refresh. next is how long to wait before the next one, also after a failure.
func (s *Schedule[T]) Done(r *Refresher[T], next time.Duration, err error) {
	r.refreshed(outcome{next, err}, !errors.Is(err, ErrNoPoints))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(r)
}

// Go refreshes r alone, in a goroutine of its own, and ends that with what the function returns.
// The function takes as long as it needs, or until the context of Run ends.
func (s *Schedule[T]) Go(r *Refresher[T], refresh func(context.Context) (next time.Duration, err error)) {
	go func() {
		next, err := refresh(r.ctx)
		s.Done(r, next, err)
	}()
}

// check refreshes those for which it is time. The timer calls it.
func (s *Schedule[T]) check() {
	due := slices.DeleteFunc(s.take(), func(r *Refresher[T]) bool {
		if r.wanted() {
			return !s.begin(r.Of)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finish(r)
		return true
	})
	for len(due) > maxGroup {
		go s.together(due[:maxGroup])
		due = due[maxGroup:]
	}
	if len(due) > 0 {
		s.together(due)
	}
}

// take takes those out of the queue for which it is time, or soon will be.
func (s *Schedule[T]) take() (due []*Refresher[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.queue) > 0 && s.queue[0].look.Sub(now) <= gatherTime {
		r := s.queue.take()
		r.begin(now)
		due = append(due, r)
	}
	if len(s.queue) > 0 {
		s.timer.Reset(s.queue[0].look.Sub(now))
	}
	return due
}

// together refreshes a group.
func (s *Schedule[T]) together(group []*Refresher[T]) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(group[0].ctx), groupTimeout)
	defer cancel()
	if due := s.enter(group, cancel); len(due) > 0 {
		s.refresh(ctx, due)
	}
}

// enter returns what to refresh in a group, whose context cancel ends. It leaves out those that
// have ended meanwhile, which must not end the others' group.
func (s *Schedule[T]) enter(group []*Refresher[T], cancel func()) (due []T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range group {
		if r.ending {
			s.finish(r)
			continue
		}
		r.cancel = cancel
		due = append(due, r.Of)
	}
	return due
}

// finish lets r wait for the next check, or end. s.mu is held.
func (s *Schedule[T]) finish(r *Refresher[T]) {
	r.busy, r.asked, r.cancel = false, nil, nil
	if r.ending {
		s.queue.remove(r)
		close(r.ended)
		return
	}
	s.enqueue(r)
}

// enqueue puts r into the queue where it belongs. s.mu is held.
func (s *Schedule[T]) enqueue(r *Refresher[T]) {
	if r.busy || r.ending || r.ctx == nil {
		return
	}
	if look := r.nextLook(); !look.IsZero() && s.queue.put(r, look) {
		s.timer.Reset(time.Until(look))
	}
}
