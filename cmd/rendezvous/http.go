package main

// The HTTP endpoint of a point: metrics, health, profiles and the status page.

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// startHTTP serves HTTP for as long as there is a point: also while it starts and
// stops, which /readyz tells.
func (p *point) startHTTP(ctx context.Context, c *serveConfig) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.httpAddr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return failf(exitCannotStart, "--http %s: the port is taken by another process; choose another", c.httpAddr)
	case err != nil:
		return failf(exitCannotStart, "--http %s: %w", c.httpAddr, err)
	}
	h := startHistory(p.metrics)
	server := &http.Server{
		Handler:           p.handler(h, c.pprof),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.failed <- failf(exitFailed, "--http %s: %w", c.httpAddr, err)
		}
	}()
	p.onStop(func() error {
		h.stop()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close() // a slow reader is not waited for
		}
		return nil
	})
	c.log.Info("serving HTTP", "url", "http://"+l.Addr().String()+"/")
	return nil
}

// handler is the endpoint. Nothing that it serves changes anything.
func (p *point) handler(h *history, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", newStatusPage(p, h))
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{p.process, p.metrics}, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", p.readyz)
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// readyz says whether a request to the point would be served.
func (p *point) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if !p.ready.Load() {
		say(w, http.StatusServiceUnavailable, "not serving")
	} else if _, err := p.storage.Counts(ctx); err != nil {
		say(w, http.StatusServiceUnavailable, "storage does not answer")
	} else {
		say(w, http.StatusOK, "ready")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
