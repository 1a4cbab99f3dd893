package main

// The last two minutes of the service's metrics, for the status page.

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	historyInterval = time.Second
	historySize     = 120 // readings
)

// reading has the values of the metrics at one time.
type reading struct {
	at            time.Time
	registrations float64
	namespaces    float64
	requests      float64            // since the start
	perSecond     float64            // requests, since the previous reading
	refused       map[string]float64 // since the start, by reason
}

// history reads the metrics at an interval and holds the most recent readings.
type history struct {
	source prometheus.Gatherer
	quit   chan struct{} // closed by stop
	ended  chan struct{} // closed when run returns

	mu       sync.Mutex
	readings []reading // oldest first
}

func startHistory(source prometheus.Gatherer) *history {
	h := &history{source: source, quit: make(chan struct{}), ended: make(chan struct{})}
	go h.run()
	return h
}

func (h *history) run() {
	defer close(h.ended)
	tick := time.NewTicker(historyInterval)
	defer tick.Stop()
	for {
		h.add(h.read())
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

// read reads the metrics. If the storage does not answer, its metrics are missing, and
// the reading repeats their previous values.
func (h *history) read() reading {
	r := reading{at: time.Now(), refused: make(map[string]float64)}
	if readings := h.all(); len(readings) > 0 {
		previous := readings[len(readings)-1]
		r.registrations, r.namespaces = previous.registrations, previous.namespaces
	}
	families, err := h.source.Gather()
	if err != nil {
		return r // a collector failed, and Gather does not say which metrics are missing
	}
	for _, f := range families {
		switch f.GetName() {
		case "libp2p_rendezvous_registrations":
			r.registrations = sum(f)
		case "libp2p_rendezvous_namespaces":
			r.namespaces = sum(f)
		case "libp2p_rendezvous_requests_total":
			r.requests = sum(f)
		case "libp2p_rendezvous_refused_total":
			for _, m := range f.GetMetric() {
				r.refused[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return r
}

// sum returns the sum of a counter or gauge over all labels.
func sum(f *dto.MetricFamily) (n float64) {
	for _, m := range f.GetMetric() {
		n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return n
}

// add appends a reading, and drops the oldest if there are too many.
func (h *history) add(r reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.readings); n > 0 {
		previous := h.readings[n-1]
		r.perSecond = max(0, r.requests-previous.requests) / r.at.Sub(previous.at).Seconds()
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
