package redisstorage

// The storage's settings, its start and its end.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

var log = gologshim.Logger("rendezvous-redis")

const (
	// callTimeout bounds every call to a server, with all its tries, however long its
	// caller would wait.
	callTimeout = 2 * time.Second
	// dialTimeout bounds connecting, and greeting after that.
	dialTimeout = time.Second
	// silence is for how long a server may leave a connection's ping unanswered
	// before the connection is given up.
	silence = 2 * time.Second
)

// Option configures a [Storage].
type Option func(*config) error

type config struct {
	prefix string
	tls    *tls.Config
	now    func() time.Time
}

// WithPrefix sets what the names of all keys begin with, "rendezvous" by default.
// Registries with different prefixes can share a server. It may not hold braces,
// with which Redis Cluster marks what it distributes keys by, nor be empty.
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		if prefix == "" || strings.ContainsAny(prefix, "{}") {
			return fmt.Errorf("prefix %q is empty or holds braces", prefix)
		}
		c.prefix = prefix
		return nil
	}
}

// WithTLS sets how to speak TLS with the servers: which authorities to trust, what
// certificate to show. The URL must be of scheme rediss. The configuration belongs
// to the storage from then on; nil is an error.
func WithTLS(t *tls.Config) Option {
	return func(c *config) error {
		if t == nil {
			return errors.New("TLS configuration is nil")
		}
		c.tls = t
		return nil
	}
}

// withClock is for tests: points whose clocks differ.
func withClock(now func() time.Time) Option {
	return func(c *config) error {
		c.now = now
		return nil
	}
}

// Storage is a [rendezvous.Storage] on Redis or Valkey. It is also a
// [prometheus.Collector] of how the servers are doing. All methods may be called at
// the same time. The zero value is of no use: [Open] makes one.
type Storage struct {
	client  rueidis.Client
	shards  []shard
	now     func() time.Time
	lengths lengths
	states  []state      // of each shard
	down    atomic.Int32 // how many of them are
	metrics metrics

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // of callers, under way; none begins when closed

	stopKeepers context.CancelFunc
	keepers     sync.WaitGroup // one for each shard
	closing     sync.Once
}

var _ rendezvous.Storage = (*Storage)(nil)

// Open connects to the servers that a URL names:
//
//	redis://[[user]:password@]host[:port][/database]
//	redis://[[user]:password@]host[:port],host[:port],...
//
// Port 6379 is the default. The scheme rediss is for TLS, with the parameter
// ?skip_verify=true to accept any certificate; valkey and valkeys are other names
// for the same two. Several hosts are members of one cluster, of which one has to
// answer; they can be given as parameters, too: ?addr=host:port&addr=... Whether
// one host is a cluster's it says itself. A cluster has no database number but 0.
//
// While the servers cannot be reached, Open tries again until ctx ends; ctx has no
// meaning for what Open returns. What will not pass, such as a wrong password, is an
// error at once. (That a server speaks no TLS cannot be told from its silence.)
func Open(ctx context.Context, url string, opts ...Option) (*Storage, error) {
	s, err := openStorage(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("open redis storage: %w", err)
	}
	return s, nil
}

func openStorage(ctx context.Context, url string, opts []Option) (*Storage, error) {
	option, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	c := config{prefix: "rendezvous", now: time.Now}
	for i, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("option %d is nil", i+1)
		}
		if err := opt(&c); err != nil {
			return nil, err
		}
	}
	if c.tls != nil {
		if option.TLSConfig == nil {
			return nil, errors.New("a TLS configuration needs a URL of scheme rediss")
		}
		option.TLSConfig = c.tls
	}
	option.Dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: time.Second}
	option.ConnWriteTimeout = silence
	option.DisableCache = true     // nothing here is asked twice and stays the same
	option.DisableRetry = true     // run and ask know better what may be repeated
	option.AlwaysPipelining = true // else a call does not notice that its context was cancelled

	client, err := connect(ctx, option)
	if err != nil {
		return nil, err
	}
	cluster := client.Mode() == rueidis.ClientModeCluster
	if cluster && option.SelectDB != 0 {
		client.Close()
		return nil, errors.New("a cluster has no databases to choose from")
	}
	shards := newShards(c.prefix, cluster)
	s := &Storage{
		client: client,
		shards: shards,
		states: make([]state, len(shards)),
		now:    c.now,
	}
	s.checkPolicy(ctx)
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stopKeepers = stop
	var visits sync.WaitGroup
	for n := range shards {
		visits.Go(func() { s.visit(ctx, n) })
	}
	visits.Wait()
	for n := range shards {
		s.keepers.Go(func() { s.keep(keeping, n) })
	}
	return s, nil
}

// connect tries until it succeeds, ctx ends, or the servers say no.
func connect(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	for attempt := 0; ; attempt++ {
		client, err := rueidis.NewClient(option)
		if err == nil {
			return client, nil
		}
		if !mayPass(ctx, err) {
			return nil, err
		}
		if attempt == 0 {
			log.Warn("servers cannot be reached, trying again", "addresses", option.InitAddress, "error", err)
		}
		wait := min(time.Second, 50*time.Millisecond<<min(attempt, 10))
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w: %w)", ctx.Err(), rendezvous.ErrUnreachable, err)
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// mayPass reports whether connecting may succeed later although it failed now.
func mayPass(ctx context.Context, err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return false
	}
	return errors.Is(explain(context.WithoutCancel(ctx), err), rendezvous.ErrUnreachable)
}

// checkPolicy warns of servers that throw away what they were told to keep.
func (s *Storage) checkPolicy(ctx context.Context) {
	for addr, node := range s.client.Nodes() {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		info, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		cancel()
		if err != nil {
			log.Warn("cannot tell what the server does when its memory is full", "address", addr, "error", err)
			continue
		}
		if p := policy(info); p != "noeviction" {
			log.Warn("the server loses registrations when its memory is full: set maxmemory-policy to noeviction",
				"address", addr, "maxmemory_policy", p)
		}
	}
}

// policy finds a server's maxmemory-policy in what it says of its memory.
func policy(info string) string {
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return policy
		}
	}
	return ""
}

// enter counts a caller in, until leave, unless the storage is closed.
func (s *Storage) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return rendezvous.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Storage) leave() { s.calls.Done() }

// Close ends the storage's goroutines and its connections, and returns when they
// have ended; calls under way are waited for, a few seconds at most. What is
// registered stays with the servers until its deadline.
func (s *Storage) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.stopKeepers()
		s.keepers.Wait()
		s.calls.Wait()
		s.client.Close()
	})
	return nil
}
