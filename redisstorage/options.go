package redisstorage

// Options of Open.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Option configures a [Storage].
type Option func(*config) error

type config struct {
	prefix string
	tls    *tls.Config
	now    func() time.Time
}

func newConfig(opts []Option) (config, error) {
	c := config{prefix: "rendezvous", now: time.Now}
	for i, opt := range opts {
		if opt == nil {
			return c, fmt.Errorf("option %d is nil", i+1)
		}
		if err := opt(&c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// WithPrefix sets the prefix of all keys. The default is "rendezvous". Registries with
// different prefixes can share a server. The prefix must not be empty or contain braces,
// which mark hash tags in Redis Cluster.
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		if prefix == "" || strings.ContainsAny(prefix, "{}") {
			return fmt.Errorf("prefix %q is empty or contains braces", prefix)
		}
		c.prefix = prefix
		return nil
	}
}

// WithTLS sets the TLS configuration for connections to the servers, such as root
// certificates or a client certificate. It requires a URL with the scheme rediss. The
// storage owns t from then on. A nil t is an error.
func WithTLS(t *tls.Config) Option {
	return func(c *config) error {
		if t == nil {
			return errors.New("TLS configuration is nil")
		}
		c.tls = t
		return nil
	}
}

// withClock replaces the clock of this process, for tests.
func withClock(now func() time.Time) Option {
	return func(c *config) error {
		c.now = now
		return nil
	}
}
