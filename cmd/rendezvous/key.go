package main

// The key that makes a peer ID survive a restart.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// loadKey reads the private key in a file, and makes both when there is no file.
func loadKey(path string) (crypto.PrivKey, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = createKey(path)
	}
	if err != nil {
		return nil, failf(exitCannotStart, "key file %s: %w; --key chooses another, which is made where there is none", path, cause(err))
	}
	return key, nil
}

// readKey refuses a file that others may read: whoever has the key is the peer.
func readKey(path string) (crypto.PrivKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a directory")
	}
	if open := info.Mode().Perm() & 0o077; runtime.GOOS != "windows" && open != 0 {
		return nil, fmt.Errorf("others may read or write it (mode %#o): chmod 600 %s", info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("is not a libp2p private key: %w", err)
	}
	return key, nil
}

// createKey writes a new key so that its file is there whole or not at all.
func createKey(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	// A link, unlike a rename, fails where two processes make the key at once.
	if err := os.Link(tmp.Name(), path); err != nil {
		return nil, err
	}
	return key, nil
}
