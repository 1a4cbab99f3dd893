package main

// Notifying systemd of the service's state.

import (
	"fmt"
	"log/slog"
	"net"
	"os"
)

// notifySystemd sends a state such as READY=1 to systemd, and logs a failure. It does
// nothing if systemd has not started this process.
func notifySystemd(log *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := sendDatagram(socket, state); err != nil {
		log.Warn("cannot notify systemd", "state", state, "error", err)
	}
}

func sendDatagram(socket, text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", socket, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to %s: %w", socket, err)
	}
	return nil
}
