package main

// What the status page shows of the last two minutes, read off the same metrics
// that Prometheus scrapes.

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	historyStep = time.Second
	historySize = 120
)

// reading is what the metrics said at one time.
type reading struct {
	at            time.Time
	registrations float64
	namespaces    float64
	requests      float64 // since the start
	perSecond     float64
	refused       map[string]float64 // since the start, by reason
}

// history keeps the last readings.
type history struct {
	source prometheus.Gatherer
	done   chan struct{}
	ended  chan struct{}

	mu       sync.Mutex
	readings []reading // the newest last
}

func startHistory(source prometheus.Gatherer) *history {
	h := &history{source: source, done: make(chan struct{}), ended: make(chan struct{})}
	go h.run()
	return h
}

func (h *history) run() {
	defer close(h.ended)
	tick := time.NewTicker(historyStep)
	defer tick.Stop()
	for {
		h.add(h.read())
		select {
		case <-tick.C:
		case <-h.done:
			return
		}
	}
}

func (h *history) stop() {
	close(h.done)
	<-h.ended
}

// read reads the metrics. While the storage does not say what it holds, that is what it
// was before.
func (h *history) read() reading {
	r := reading{at: time.Now(), refused: make(map[string]float64)}
	if before := h.last(); len(before) > 0 {
		r.registrations, r.namespaces = before[len(before)-1].registrations, before[len(before)-1].namespaces
	}
	families, err := h.source.Gather()
	if err != nil {
		return r // of a metric that failed; the others are there, but which is not known
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

func sum(f *dto.MetricFamily) (n float64) {
	for _, m := range f.GetMetric() {
		n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return n
}

func (h *history) add(r reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.readings); n > 0 {
		before := h.readings[n-1]
		r.perSecond = max(0, r.requests-before.requests) / r.at.Sub(before.at).Seconds()
	}
	if len(h.readings) == historySize {
		h.readings = slices.Delete(h.readings, 0, 1)
	}
	h.readings = append(h.readings, r)
}

// last returns the readings, the newest last.
func (h *history) last() []reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.readings)
}
