package main

import (
	"path/filepath"
	"testing"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/storagetest"
)

// TestStorage runs the tests that every storage has to pass.
func TestStorage(t *testing.T) {
	open := func(t *testing.T, path string) rendezvous.Storage {
		t.Helper()
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storagetest.Run(t,
		func(t *testing.T) rendezvous.Storage {
			t.Helper()
			return open(t, filepath.Join(t.TempDir(), "db"))
		},
		storagetest.MustPage(),
		storagetest.Reopen(func(t *testing.T, s rendezvous.Storage) rendezvous.Storage {
			t.Helper()
			path := s.(*Storage).db.Path()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			return open(t, path)
		}),
	)
}
