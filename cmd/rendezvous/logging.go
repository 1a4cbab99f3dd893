package main

// How the program logs: its flags, and the log that libraries share.

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/urfave/cli/v3"
)

func loggingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-level", Usage: "log `LEVEL` and above: debug, info, warn or error", Value: "info", Category: "Logs"},
		&cli.StringFlag{Name: "log-format", Usage: "log in `FORMAT`: text or json", Value: "text", Category: "Logs"},
	}
}

// newLogger returns the program's log, which those of libp2p and of the library go
// into as well.
func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q is none of debug, info, warn, error", level)
	}
	var handler slog.Handler
	switch options := (&slog.HandlerOptions{Level: l}); format {
	case "text":
		handler = slog.NewTextHandler(w, options)
	case "json":
		handler = slog.NewJSONHandler(w, options)
	default:
		return nil, usagef("--log-format %q is neither text nor json", format)
	}
	gologshim.SetDefaultHandler(&libraryLog{Handler: handler, least: quiet(l)})
	return slog.New(handler), nil
}

// quiet is the level of libp2p's logs: it warns of what any peer can do to a
// connection, as often as peers do.
func quiet(l slog.Level) slog.Level {
	if l <= slog.LevelDebug {
		return l
	}
	return max(l, slog.LevelError)
}

// libraryLog is what libp2p logs to. The library's own log is not quietened: it
// warns of nothing that a peer does, but of databases that fail.
type libraryLog struct {
	slog.Handler
	least slog.Level
}

func (h *libraryLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.least && h.Handler.Enabled(ctx, l)
}

func (h *libraryLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	inner := h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "logger" && strings.HasPrefix(a.Value.String(), "rendezvous") {
			return inner
		}
	}
	return &libraryLog{Handler: inner, least: h.least}
}
