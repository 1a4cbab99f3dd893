package main

// The last two minutes of a point, for the status page.

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	historyInterval = time.Second
	historySize     = 120 // readings

	// sharedCountInterval is the time between two counts of a shared registry. A count
	// asks each of its servers, and fetches the names of namespaces from a cluster.
	sharedCountInterval = 15 * time.Second
)

// reading is what is known at one time.
type reading struct {
	requestCounts
	at        time.Time
	stored    rendezvous.Counts
	perSecond float64 // requests, since the previous reading
}

// history reads the counts of requests each second, counts the registrations at an
// interval of its own, and holds the most recent readings.
type history struct {
	tracer     *tracer
	storage    rendezvous.Storage
	countEvery time.Duration
	quit       chan struct{} // closed by stop
	ended      chan struct{} // closed when run returns

	counted time.Time // when the registrations were last counted; only run uses it

	mu       sync.Mutex
	readings []reading // oldest first
}

// startHistory reads until stop. The end of ctx ends only a count of registrations.
func startHistory(ctx context.Context, t *tracer, s rendezvous.Storage, countEvery time.Duration) *history {
	h := &history{tracer: t, storage: s, countEvery: countEvery, quit: make(chan struct{}), ended: make(chan struct{})}
	go h.run(ctx)
	return h
}

// countInterval returns how often the registrations of the storage at a URL are counted.
func countInterval(storageURL string) time.Duration {
	if scheme, _, _ := strings.Cut(storageURL, ":"); isRedis(scheme) {
		return sharedCountInterval
	}
	return historyInterval
}

func (h *history) run(ctx context.Context) {
	defer close(h.ended)
	tick := time.NewTicker(historyInterval)
	defer tick.Stop()
	for {
		h.add(h.read(ctx))
		select {
		case <-tick.C:
		case <-h.quit:
			return
		}
	}
}

func (h *history) stop() {
	close(h.quit)
	<-h.ended
}

// read returns a reading for now. If the registrations are not due, or the storage does not
// answer, it repeats their previous number.
func (h *history) read(ctx context.Context) reading {
	r := reading{at: time.Now(), requestCounts: h.tracer.read()}
	if readings := h.all(); len(readings) > 0 {
		r.stored = readings[len(readings)-1].stored
	}
	if r.at.Sub(h.counted) >= h.countEvery-historyInterval/2 { // a tick may be early
		h.counted = r.at
		ctx, cancel := context.WithTimeout(ctx, historyInterval)
		defer cancel()
		if stored, err := h.storage.Counts(ctx); err == nil {
			r.stored = stored
		}
	}
	return r
}

// add appends a reading, and drops the oldest if there are too many.
func (h *history) add(r reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.readings); n > 0 {
		previous := h.readings[n-1]
		r.perSecond = float64(r.requests-previous.requests) / r.at.Sub(previous.at).Seconds()
	}
	if len(h.readings) == historySize {
		h.readings = slices.Delete(h.readings, 0, 1)
	}
	h.readings = append(h.readings, r)
}

// all returns a copy of the readings, oldest first.
func (h *history) all() []reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.readings)
}
