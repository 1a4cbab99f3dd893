package redisstorage

// Load on a storage while a test makes servers fail.

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// load calls Add and Sample continuously until the test ends. A call may fail only with
// ErrUnreachable.
type load struct {
	t  *testing.T
	wg sync.WaitGroup

	mu      sync.Mutex
	success time.Time     // when a call last succeeded
	failure time.Time     // when a call last failed; at first, when the load started
	longest time.Duration // duration of the longest call
}

func startLoad(t *testing.T, storages ...*Storage) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{t: t, failure: time.Now()}
	for caller := range 8 {
		s := storages[caller%len(storages)]
		i := 0
		l.repeat(ctx, func() error {
			i++
			return s.Add(context.Background(), testRecord("load", 1000+caller*100+i%100, 20*time.Second), largeQuota)
		})
		l.repeat(ctx, func() error {
			_, err := s.Sample(context.Background(), "load", 10, 0)
			return err
		})
	}
	t.Cleanup(func() {
		stop()
		l.wg.Wait()
	})
	return l
}

// repeat calls f every few milliseconds until ctx ends.
func (l *load) repeat(ctx context.Context, f func() error) {
	l.wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
			began := time.Now()
			l.record(began, f())
		}
	})
}

// record records the result of a call.
func (l *load) record(began time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = max(l.longest, time.Since(began))
	switch {
	case err == nil:
		l.success = time.Now()
	case errors.Is(err, rendezvous.ErrUnreachable):
		l.failure = time.Now()
	default:
		l.t.Errorf("a call failed with an error other than ErrUnreachable: %v", err)
	}
}

// waitUntilNormal waits until all calls have succeeded for 1.5 s. It returns how long after
// since the last call failed.
func (l *load) waitUntilNormal(since time.Time) time.Duration {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Since(l.failure) > 1500*time.Millisecond && l.success.After(l.failure)
	}, 30*time.Second, 10*time.Millisecond, "calls still fail")
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Less(l.t, l.longest, callTimeout+dialTimeout+time.Second, "a call took too long")
	return max(0, l.failure.Sub(since))
}

// waitUntilFailing waits until a call fails.
func (l *load) waitUntilFailing(within time.Duration) {
	l.t.Helper()
	began := time.Now()
	require.Eventually(l.t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.failure.After(began)
	}, within, 10*time.Millisecond, "no call fails")
}
