package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// canvasID is the protocol ID that the client of js-libp2p speaks unless it is set.
const canvasID = "/canvas/rendezvous/1.0.0"

// point is a process that runs "rendezvous serve".
type point struct {
	process *process
	info    peer.AddrInfo
	addrs   []string
}

// startPoint starts a point on loopback, with all transports that serve has by default.
func startPoint(ctx context.Context, binary, log, storage string) (*point, error) {
	args := []string{"serve", "--storage", storage, "--key", log + ".key", "--log-format", "json", "--standard-id", canvasID}
	for _, a := range []string{"tcp/0", "tcp/0/ws", "udp/0/quic-v1", "udp/0/quic-v1/webtransport", "udp/0/webrtc-direct"} {
		args = append(args, "--listen", "/ip4/127.0.0.1/"+a)
	}
	process, err := startProcess(ctx, log+".log", nil, binary, args...)
	if err != nil {
		return nil, err
	}
	p := &point{process: process}
	err = await(ctx, "a point to serve", 30*time.Second, func() error { return errors.Join(p.parse(log+".log"), process.hasEnded()) })
	if err != nil {
		process.stop()
		return nil, err
	}
	return p, nil
}

// parse reads the addresses in the point's log, which it has once it serves.
func (p *point) parse(log string) error {
	text, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("read the log of a point: %w", err)
	}
	p.addrs = nil
	for line := range strings.Lines(string(text)) {
		var entry struct {
			Msg     string `json:"msg"`
			Address string `json:"address"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		switch entry.Msg {
		case "listening":
			p.addrs = append(p.addrs, entry.Address)
		case "serving":
			infos, err := peer.AddrInfosFromP2pAddrs(parseAddrs(p.addrs)...)
			if err != nil || len(infos) != 1 {
				return fmt.Errorf("addresses of a point %q: %w", p.addrs, err)
			}
			p.info = infos[0]
			return nil
		}
	}
	return errors.New("it does not serve yet")
}

// addr returns the point's address that has a protocol.
func (p *point) addr(protocol string) string {
	for _, a := range p.addrs {
		if strings.Contains(a, "/"+protocol+"/") {
			return a
		}
	}
	return ""
}
