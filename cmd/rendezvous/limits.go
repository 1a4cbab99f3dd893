package main

// Limits of a point. The library's options document each of them.

import (
	"fmt"
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
		&cli.IntFlag{Name: "max-connections", Usage: "close idle connections above `N`", Value: 10_000},
		&cli.IntFlag{Name: "max-connections-per-ip", Usage: "accept at most `N` connections from one IPv4 address or IPv6 /56", Value: 64},
		&cli.IntFlag{Name: "max-registrations", Usage: "store at most `N` registrations; 0 means no limit", Value: 1_000_000},
		&cli.Int64Flag{Name: "max-registration-bytes", Usage: "store at most `N` bytes of registrations; 0 means no limit", Value: 1 << 30},
		&cli.IntFlag{Name: "max-registrations-per-peer", Usage: "store at most `N` registrations of one peer; 0 means no limit", Value: 1000},
		&cli.IntFlag{Name: "max-registrations-per-ip", Usage: "store at most `N` registrations from one IPv4 address or IPv6 /64, 4 times as many from a /56 and 16 times from a /48; 0 means no limit", Value: 1000},
		&cli.FloatFlag{Name: "rate", Usage: "serve at most `N` requests per second of one peer, and 20 times as many of one address; 0, with --burst 0, means no limit", Value: 50},
		&cli.IntFlag{Name: "burst", Usage: "serve at most `N` requests of one peer in a burst", Value: 100},
		&cli.IntFlag{Name: "egress", Usage: "answer one peer with at most `N` bytes per second, and one address with 20 times as many; 0, with --egress-burst 0, means no limit", Value: 1 << 20},
		&cli.IntFlag{Name: "egress-burst", Usage: "answer one peer with at most `N` bytes in a burst", Value: 8 << 20},
		&cli.DurationFlag{Name: "ttl", Usage: "grant `DURATION` to requests without a TTL; 0 means 20s", Value: rendezvous.DefaultTTL},
		&cli.DurationFlag{Name: "max-ttl", Usage: "refuse requests for a TTL above `DURATION`; 0 means 20s", Value: rendezvous.MaxTTL},
		&cli.IntFlag{Name: "max-discover-limit", Usage: "return at most `N` registrations in an answer", Value: rendezvous.MaxDiscoverLimit},
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
			ofFlags("--max-registrations", rendezvous.WithMaxRegistrations(cmd.Int("max-registrations"))),
			ofFlags("--max-registration-bytes", rendezvous.WithMaxRegistrationBytes(cmd.Int64("max-registration-bytes"))),
			ofFlags("--max-registrations-per-peer", rendezvous.WithMaxRegistrationsPerPeer(cmd.Int("max-registrations-per-peer"))),
			ofFlags("--max-registrations-per-ip", rendezvous.WithMaxRegistrationsPerIP(cmd.Int("max-registrations-per-ip"))),
			ofFlags("--rate, --burst", rendezvous.WithRateLimit(cmd.Float("rate"), cmd.Int("burst"))),
			ofFlags("--egress, --egress-burst", rendezvous.WithEgressLimit(cmd.Int("egress"), cmd.Int("egress-burst"))),
			ofFlags("--ttl, --max-ttl", rendezvous.WithTTL(defaultTTL(cmd), cmd.Duration("max-ttl"))),
			ofFlags("--max-discover-limit", rendezvous.WithMaxDiscoverLimit(cmd.Int("max-discover-limit"))),
		},
	}
	switch {
	case l.connections < 1:
		return l, usagef("--max-connections is %d; the minimum is 1", l.connections)
	case l.connectionsPerIP < 1:
		return l, usagef("--max-connections-per-ip is %d; the minimum is 1", l.connectionsPerIP)
	}
	return l, nil
}

// ofFlags returns an option whose error names the flags that set it. C is the configuration of
// a service, which has no name outside of the library.
func ofFlags[C any](flags string, option func(*C) error) func(*C) error {
	return func(c *C) error {
		if err := option(c); err != nil {
			return fmt.Errorf("%s: %w", flags, err)
		}
		return nil
	}
}

// defaultTTL returns --ttl. If it is not set, a lower --max-ttl lowers the default.
func defaultTTL(cmd *cli.Command) time.Duration {
	if cmd.IsSet("ttl") {
		return cmd.Duration("ttl")
	}
	return min(cmd.Duration("ttl"), cmd.Duration("max-ttl"))
}
