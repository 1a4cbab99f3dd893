package main

// Logging: flags, and the program's logger, which libp2p and the library share.

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
		&cli.StringFlag{Name: "log-level", Usage: "log messages of `LEVEL` and above: debug, info, warn or error", Value: "info", Category: "Logs"},
		&cli.StringFlag{Name: "log-format", Usage: "log as `FORMAT`: text or json", Value: "text", Category: "Logs"},
	}
}

// newLogger returns the program's logger. It makes libp2p and the library log to w as
// well.
func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q is not one of debug, info, warn, error", level)
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
	gologshim.SetDefaultHandler(&libp2pHandler{Handler: handler, level: libp2pLevel(l)})
	return slog.New(handler), nil
}

// libp2pLevel returns the log level of libp2p, given the program's. libp2p logs warnings
// that any peer can cause at any rate, so only errors are logged, except when debugging.
func libp2pLevel(l slog.Level) slog.Level {
	if l <= slog.LevelDebug {
		return l
	}
	return max(l, slog.LevelError)
}

// libp2pHandler handles the logs of libp2p and of the library. Its level does not apply
// to the library's logger, whose warnings are about failing databases, not about peers.
type libp2pHandler struct {
	slog.Handler
	level slog.Level
}

func (h *libp2pHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h *libp2pHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	inner := h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "logger" && strings.HasPrefix(a.Value.String(), "rendezvous") {
			return inner
		}
	}
	return &libp2pHandler{Handler: inner, level: h.level}
}
