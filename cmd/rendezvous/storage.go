package main

// Opening the storage that --storage names.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/redisstorage"
)

// openStorage opens the storage at a URL and returns a function that closes it. It
// registers the storage's own metrics, if there are any, with reg.
func openStorage(ctx context.Context, url string, reg prometheus.Registerer) (rendezvous.Storage, func() error, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch {
	case scheme == "memory" && rest == "":
		s := rendezvous.NewMemoryStorage()
		return s, s.Close, nil
	case scheme == "leveldb" && rest != "":
		return openLevelDB(rest)
	case strings.HasPrefix(rest, "//") && isRedis(scheme):
		return openRedis(ctx, url, reg)
	default:
		return nil, nil, usagef("--storage %q… is not supported; use memory:, leveldb:PATH or redis://HOST:PORT", scheme)
	}
}

// parseStorageURL returns a storage's URL with the home directory in place of a ~.
func parseStorageURL(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "leveldb:")
	if !ok {
		return url, nil
	}
	path, err := userPath(strings.TrimPrefix(path, "//"))
	return "leveldb:" + path, err
}

// storageName returns a storage's URL for logs, without user name and password.
func storageName(url string) string {
	scheme, rest, _ := strings.Cut(url, ":")
	if !isRedis(scheme) {
		return url
	}
	rest = strings.TrimPrefix(rest, "//")
	return scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
}

func isRedis(scheme string) bool {
	switch scheme {
	case "redis", "rediss", "valkey", "valkeys":
		return true
	}
	return false
}

func openLevelDB(path string) (rendezvous.Storage, func() error, error) {
	db, err := rendezvous.OpenLevelDB(path)
	switch {
	case errors.Is(err, rendezvous.ErrDatabaseLocked):
		return nil, nil, failf(exitCannotStart, "--storage: database %s is in use by another process", path)
	case err != nil:
		return nil, nil, failf(exitCannotStart, "--storage: database %s: %w", path, withoutPath(err))
	}
	s := rendezvous.NewStorage(db)
	return s, func() error {
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			return fmt.Errorf("close database %s: %w", path, err)
		}
		return nil
	}, nil
}

// redisTimeout bounds connecting to Redis. It leaves time for a server that starts
// together with the point.
const redisTimeout = 10 * time.Second

func openRedis(ctx context.Context, url string, reg prometheus.Registerer) (rendezvous.Storage, func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	s, err := redisstorage.Open(ctx, url)
	switch {
	case errors.Is(err, redisstorage.ErrInvalidURL):
		return nil, nil, &failure{exitUsage, err}
	case err != nil:
		return nil, nil, &failure{exitCannotStart, err}
	}
	if err := reg.Register(s); err != nil {
		return nil, nil, &failure{exitCannotStart, errors.Join(err, s.Close())}
	}
	return s, s.Close, nil
}
