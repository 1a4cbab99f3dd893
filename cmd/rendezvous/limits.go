package main

// What a point lets peers do. The library says what each limit is for.

import (
	"time"

	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

type limits struct {
	connections      int
	connectionsPerIP int
	service          []rendezvous.ServiceOption
}

func limitFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.IntFlag{Name: "max-connections", Usage: "close idle connections beyond `N`", Value: 10_000},
		&cli.IntFlag{Name: "max-connections-per-ip", Usage: "accept `N` connections from one IPv4 address or IPv6 /56", Value: 64},
		&cli.IntFlag{Name: "max-registrations", Usage: "keep `N` registrations; 0 for no limit", Value: 1_000_000},
		&cli.IntFlag{Name: "max-registrations-per-peer", Usage: "keep `N` registrations of one peer; 0 for no limit", Value: 1000},
		&cli.IntFlag{Name: "max-registrations-per-ip", Usage: "keep `N` registrations from one IPv4 address or IPv6 /64; 0 for no limit", Value: 1000},
		&cli.FloatFlag{Name: "rate", Usage: "serve `N` requests per second of one peer, and 20 times that of one address; 0, with burst 0, for no limit", Value: 50},
		&cli.IntFlag{Name: "burst", Usage: "serve `N` requests of one peer at once", Value: 100},
		&cli.DurationFlag{Name: "ttl", Usage: "register for `DURATION` who does not say how long; 0 for 20s", Value: rendezvous.DefaultTTL},
		&cli.DurationFlag{Name: "max-ttl", Usage: "register nobody for longer than `DURATION`; 0 for 20s", Value: rendezvous.MaxTTL},
		&cli.IntFlag{Name: "max-discover-limit", Usage: "put `N` registrations into an answer at most", Value: rendezvous.MaxDiscoverLimit},
	}
	for _, f := range flags {
		if f, ok := f.(cli.CategorizableFlag); ok {
			f.SetCategory("Limits")
		}
	}
	return flags
}

func newLimits(cmd *cli.Command) (limits, error) {
	l := limits{
		connections:      cmd.Int("max-connections"),
		connectionsPerIP: cmd.Int("max-connections-per-ip"),
		service: []rendezvous.ServiceOption{
			rendezvous.WithMaxRegistrations(cmd.Int("max-registrations")),
			rendezvous.WithMaxRegistrationsPerPeer(cmd.Int("max-registrations-per-peer")),
			rendezvous.WithMaxRegistrationsPerIP(cmd.Int("max-registrations-per-ip")),
			rendezvous.WithRateLimit(cmd.Float("rate"), cmd.Int("burst")),
			rendezvous.WithTTL(defaultTTL(cmd), cmd.Duration("max-ttl")),
			rendezvous.WithMaxDiscoverLimit(cmd.Int("max-discover-limit")),
		},
	}
	switch {
	case l.connections < 1:
		return l, usagef("--max-connections is %d, at least 1 is needed", l.connections)
	case l.connectionsPerIP < 1:
		return l, usagef("--max-connections-per-ip is %d, at least 1 is needed", l.connectionsPerIP)
	}
	return l, nil
}

// defaultTTL is --ttl, or where only --max-ttl was given, no more than that.
func defaultTTL(cmd *cli.Command) time.Duration {
	if cmd.IsSet("ttl") {
		return cmd.Duration("ttl")
	}
	return min(cmd.Duration("ttl"), cmd.Duration("max-ttl"))
}
