package main

// The flag --protocol, which says what to speak with points.

import (
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// protocols are the protocols that have short names, the preferred one first.
var protocols = []struct {
	name string
	id   protocol.ID
}{
	{"0.0.1", rendezvous.RendezvousID_v001},
	{"1.0.0", rendezvous.StandardID},
}

func protocolFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "protocol",
		Usage: "speak `PROTOCOL` with points: 0.0.1, 1.0.0 or an ID, such as /canvas/rendezvous/1.0.0; repeatable, the first that a point speaks is used; default: 0.0.1, or else 1.0.0",
	}
}

// parseProtocols parses --protocol. Without it, it returns the protocols that have names.
func parseProtocols(cmd *cli.Command) ([]protocol.ID, error) {
	var ids []protocol.ID
	for _, value := range cmd.StringSlice("protocol") {
		id := protocol.ID(value)
		for _, p := range protocols {
			if p.name == value {
				id = p.id
			}
		}
		if !strings.HasPrefix(string(id), "/") {
			return nil, usagef("--protocol %q is none of 0.0.1, 1.0.0 and an ID that begins with /", value)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		for _, p := range protocols {
			ids = append(ids, p.id)
		}
	}
	return ids, nil
}
