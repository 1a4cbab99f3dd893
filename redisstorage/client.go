package redisstorage

// Connecting to the servers.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// callTimeout bounds a call to the servers with all its retries, even if the
	// context of the caller allows more.
	callTimeout = 2 * time.Second
	// dialTimeout bounds connecting to a server. The handshake after it has as much
	// time again.
	dialTimeout = time.Second
	// pingTimeout is how long a server may leave a ping unanswered before its
	// connection is closed.
	pingTimeout = 2 * time.Second
)

// connect connects to the servers. It retries until it succeeds, ctx ends, or an error
// is permanent.
func connect(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	option.Dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: time.Second}
	option.ConnWriteTimeout = pingTimeout
	option.DisableCache = true     // no answer stays valid long enough to be cached
	option.DisableRetry = true     // script.run and query.ask know which calls are safe to repeat
	option.AlwaysPipelining = true // otherwise a call does not notice that its context ends

	for attempt := 0; ; attempt++ {
		client, err := rueidis.NewClient(option)
		if err == nil {
			return client, nil
		}
		if isPermanent(err) {
			return nil, err
		}
		if attempt == 0 {
			log.Warn("cannot connect to the servers, retrying", "addresses", option.InitAddress, "error", err)
		}
		wait := min(time.Second, 50*time.Millisecond<<min(attempt, 10))
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w: %w)", ctx.Err(), rendezvous.ErrUnreachable, err)
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// isPermanent reports whether it is useless to connect again after err.
func isPermanent(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return !errors.Is(classify(err), rendezvous.ErrUnreachable)
}

func isCluster(client rueidis.Client) bool { return client.Mode() == rueidis.ClientModeCluster }

// checkPolicy warns of servers that may evict registrations.
func checkPolicy(ctx context.Context, client rueidis.Client) {
	for addr, node := range client.Nodes() {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		info, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		cancel()
		if err != nil {
			log.Warn("cannot read maxmemory-policy from the server", "address", addr, "error", err)
			continue
		}
		if p := policy(info); p != "noeviction" {
			log.Warn("the server evicts registrations when its memory is full: set maxmemory-policy to noeviction",
				"address", addr, "maxmemory_policy", p)
		}
	}
}

// policy returns the maxmemory-policy in the memory section of a server's INFO.
func policy(info string) string {
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return policy
		}
	}
	return ""
}
