package main

// Counting what is logged.

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/gologshim"
)

// logCounter counts log lines of the library above debug level. libp2p has a few for each
// connection that breaks.
type logCounter struct {
	lines atomic.Int64
	last  atomic.Pointer[string]
}

// countLogs makes the library log to a counter, and libp2p nowhere.
func countLogs() *logCounter {
	c := new(logCounter)
	gologshim.SetDefaultHandler(logHandler{c, ""})
	return c
}

// logHandler is the [slog.Handler] of one logger.
type logHandler struct {
	*logCounter
	logger string // name
}

func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level > slog.LevelDebug }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	if h.logger != "rendezvous" {
		return nil
	}
	line := h.logger + ": " + r.Message
	h.lines.Add(1)
	h.last.Store(&line)
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "logger" {
			h.logger = a.Value.String()
		}
	}
	return h
}

func (h logHandler) WithGroup(string) slog.Handler { return h }
