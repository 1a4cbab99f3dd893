package main

// The HTTP endpoint of a point: status page, metrics, health and profiles.

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type httpEndpoint struct {
	server  *http.Server
	history *history
	failed  chan error // receives at most one error, when the server fails
}

// startHTTP starts the HTTP endpoint of a point, which need not serve yet.
func startHTTP(ctx context.Context, c *serveConfig, p *point) (*httpEndpoint, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.httpAddr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, failf(exitCannotStart, "--http %s: the port is in use by another process; choose another", c.httpAddr)
	case err != nil:
		return nil, failf(exitCannotStart, "--http %s: %w", c.httpAddr, err)
	}
	e := &httpEndpoint{history: startHistory(ctx, p.tracer, p.storage, countInterval(c.storageURL)), failed: make(chan error, 1)}
	e.server = &http.Server{
		Handler:           httpHandler(p, e.history, c.pprof),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	go func() {
		if err := e.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			e.failed <- failf(exitFailed, "--http %s: %w", c.httpAddr, err)
		}
	}()
	c.log.Info("serving HTTP", "url", "http://"+l.Addr().String()+"/")
	return e, nil
}

// stop waits a second for requests in progress, and then closes their connections.
func (e *httpEndpoint) stop(ctx context.Context) error {
	e.history.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := e.server.Shutdown(ctx); err != nil {
		return e.server.Close()
	}
	return nil
}

// httpHandler serves all paths. None of them changes the state of the point.
func httpHandler(p *point, h *history, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", newStatusPage(p, h))
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.Handle("GET /readyz", readyHandler(p))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// readyHandler answers 200 if the point would serve a request, and 503 if not.
func readyHandler(p *point) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := p.checkReady(ctx); err != nil {
			writeText(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		writeText(w, http.StatusOK, "ready")
	}
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
