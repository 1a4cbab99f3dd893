package main

// Two processes that serve with the same key are one point to peers. A peer reaches either of
// them, and does not find the peers that registered at the other. A lock on the key file
// detects a second process on the same machine, and an entry in a shared registry detects one
// that uses the same registry. Other processes cannot be detected.

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// sameKeyEvery is the time between two checks. The registry remembers a process for a
// minute.
const sameKeyEvery = 20 * time.Second

// registry is a shared registry.
type registry interface {
	SwapProcess(ctx context.Context, point peer.ID, process string) (before string, err error)
}

// sameKey notices another process that serves with the same key. It is a
// [prometheus.Collector].
type sameKey struct {
	prometheus.GaugeFunc
	log     *slog.Logger
	path    string // of the key
	point   peer.ID
	process string   // random
	shared  registry // nil if the storage is not shared

	lock    *os.File // the locked key file, nil if another process has locked it
	swapped bool     // this process has written into the registry
	found   atomic.Bool

	cancel context.CancelFunc
	ended  chan struct{}
}

func newSameKey(log *slog.Logger, path string, point peer.ID, s rendezvous.Storage) *sameKey {
	k := &sameKey{log: log, path: path, point: point, process: rand.Text()}
	k.shared, _ = s.(registry)
	k.GaugeFunc = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "libp2p_rendezvous",
		Name:      "same_key",
		Help:      "1 if another process was seen that serves with the same key, 0 if not.",
	}, func() float64 {
		if k.found.Load() {
			return 1
		}
		return 0
	})
	return k
}

// start checks at once, and then in the background until stop.
func (k *sameKey) start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(ctx)
	k.ended = make(chan struct{})
	k.check(ctx)
	go func() {
		defer close(k.ended)
		tick := time.NewTicker(sameKeyEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				k.check(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// stop ends the checks and unlocks the key. It does nothing unless start was called.
func (k *sameKey) stop() {
	if k.cancel == nil {
		return
	}
	k.cancel()
	<-k.ended
	if k.lock != nil {
		_ = k.lock.Close()
	}
}

// check looks for another process once, and logs when that has changed.
func (k *sameKey) check(ctx context.Context) {
	here, there := k.isLocked(), k.isWritten(ctx)
	found := here || there
	if k.found.Swap(found) == found {
		return
	}
	if !found {
		k.log.Info("no other process serves with the same key any more", "key", k.path)
		return
	}
	k.log.Warn("another process serves with the same key; peers reach one or the other, so stop one or give it a key of its own",
		"key", k.path, "peer", k.point, "on_this_machine", here, "at_this_registry", there)
}

// isLocked locks the key file, and reports whether another process has locked it. On a file
// system without locks it reports false.
func (k *sameKey) isLocked() bool {
	if k.lock != nil {
		return false
	}
	lock, elsewhere := lockFile(k.path)
	k.lock = lock
	return elsewhere
}

// isWritten reports whether another process has written to the registry since this one
// last did. What is there at first may be from before a restart.
func (k *sameKey) isWritten(ctx context.Context) bool {
	if k.shared == nil {
		return false
	}
	before, err := k.shared.SwapProcess(ctx, k.point, k.process)
	if err != nil {
		return k.found.Load() // not known
	}
	first := !k.swapped
	k.swapped = true
	return !first && before != "" && before != k.process
}
