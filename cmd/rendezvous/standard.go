package main

// Serving /rendezvous/1.0.0, libp2p's own protocol, from the same registrations.

import (
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

func standardFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "standard", Usage: "also serve " + string(rendezvous.StandardID) + ", which peers of other libp2p implementations speak; --standard=false to disable", Value: true, Category: "Standard protocol"},
		&cli.StringSliceFlag{Name: "standard-id", Usage: "also serve the standard protocol under `ID`, such as /canvas/rendezvous/1.0.0; repeatable", Category: "Standard protocol"},
		&cli.DurationFlag{Name: "standard-ttl", Usage: "grant `DURATION` to requests of the standard protocol without a TTL; 0 means 2h", Value: rendezvous.DefaultStandardTTL, Category: "Standard protocol"},
		&cli.DurationFlag{Name: "standard-max-ttl", Usage: "refuse requests of the standard protocol for a TTL above `DURATION`; 0 means 72h", Value: rendezvous.MaxStandardTTL, Category: "Standard protocol"},
	}
}

// standard is how a point serves the standard protocol.
type standard struct {
	ids     []protocol.ID // besides [rendezvous.StandardID]
	service []rendezvous.ServiceOption
}

func newStandard(cmd *cli.Command) (standard, error) {
	var s standard
	for _, id := range cmd.StringSlice("standard-id") {
		s.ids = append(s.ids, protocol.ID(id))
	}
	if !cmd.Bool("standard") {
		if len(s.ids) > 0 {
			return s, usagef("--standard-id %s: --standard is off", s.ids[0])
		}
		return s, nil
	}
	def, most := cmd.Duration("standard-ttl"), cmd.Duration("standard-max-ttl")
	if !cmd.IsSet("standard-ttl") && most != 0 {
		def = min(def, most)
	}
	s.service = append(s.service, ofFlags("--standard-ttl, --standard-max-ttl", rendezvous.WithStandardProtocol(def, most)))
	for _, id := range s.ids {
		s.service = append(s.service, ofFlags("--standard-id", rendezvous.WithStandardID(id)))
	}
	return s, nil
}
