package main

// Private networks: all peers have the same key (PSK), and only those that have it can
// connect. libp2p has them over TCP and WebSocket only.

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"
)

func pskFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:      "psk",
		Usage:     "use the private network whose key is in `FILE`, over TCP and WebSocket only",
		Category:  category,
		TakesFile: true,
	}
}

// loadPSK returns the key of the private network, or nil without --psk.
func loadPSK(cmd *cli.Command) (pnet.PSK, error) {
	path, err := userPath(cmd.String("psk"))
	if err != nil || path == "" {
		return nil, err
	}
	psk, err := readPSK(path)
	if err != nil {
		return nil, failf(exitCannotStart, "--psk %s: %w", path, withoutPath(err))
	}
	return psk, nil
}

// readPSK refuses a file that other users may access, as readKey does.
func readPSK(path string) (pnet.PSK, error) {
	b, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	psk, err := pnet.DecodeV1PSK(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not the key of a private network, which begins with /key/swarm/psk/1.0.0/: %w", err)
	}
	return psk, nil
}

// errNotPrivate is the error of an address that a private network cannot use.
var errNotPrivate = errors.New("a private network (--psk) has neither QUIC, WebTransport nor WebRTC; use TCP or WebSocket")

// checkPrivate returns an error if a flag has an address that a private network cannot
// use.
func checkPrivate(flag string, psk pnet.PSK, addrs []ma.Multiaddr) error {
	if psk == nil {
		return nil
	}
	for _, a := range addrs {
		if overUDP(a) {
			return usagef("--%s %s: %w", flag, a, errNotPrivate)
		}
	}
	return nil
}

// overUDP reports whether connections to an address are over UDP, up to its relay if it
// has one.
func overUDP(a ma.Multiaddr) bool { return len(a) > 1 && a[1].Code() == ma.P_UDP }

func withoutUDP(addrs []ma.Multiaddr) []ma.Multiaddr {
	return slices.DeleteFunc(addrs, overUDP)
}
