package main

// Storages by URL.

import (
	"errors"
	"fmt"
	"strings"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// openStorage opens what a URL names, and returns how to close it.
func openStorage(url string) (rendezvous.Storage, func() error, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch {
	case scheme == "memory" && rest == "":
		s := rendezvous.NewMemoryStorage()
		return s, s.Close, nil
	case scheme == "leveldb" && rest != "":
		return openLevelDB(strings.TrimPrefix(rest, "//"))
	default:
		return nil, nil, usagef("--storage %q is neither memory: nor leveldb:PATH", url)
	}
}

func openLevelDB(path string) (rendezvous.Storage, func() error, error) {
	db, err := rendezvous.OpenLevelDB(path)
	switch {
	case errors.Is(err, rendezvous.ErrDatabaseLocked):
		return nil, nil, failf(exitCannotStart, "database %s is in use by another process", path)
	case err != nil:
		return nil, nil, failf(exitCannotStart, "database %s: %w", path, cause(err))
	}
	s := rendezvous.NewStorage(db)
	return s, func() error {
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			return fmt.Errorf("close database %s: %w", path, err)
		}
		return nil
	}, nil
}
