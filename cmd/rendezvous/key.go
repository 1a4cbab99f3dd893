package main

// The private key in a file, which gives a point the same peer ID after a restart.

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/urfave/cli/v3"
)

func keyFlag(category string) cli.Flag {
	return &cli.StringFlag{
		Name:      "key",
		Usage:     "use the private key in `FILE`; a missing file is created with a new key",
		Value:     defaultKeyPath(),
		Category:  category,
		TakesFile: true,
	}
}

func defaultKeyPath() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "rendezvous.key"
	}
	return filepath.Join(dir, "rendezvous", "key")
}

// keyPath returns the absolute path that --key names.
func keyPath(cmd *cli.Command) (string, error) {
	path, err := userPath(cmd.String("key"))
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", usagef("--key %q: %w", cmd.String("key"), err)
	}
	return path, nil
}

// loadKey reads the private key in a file. If the file does not exist, it creates it
// with a new key.
func loadKey(path string) (crypto.PrivKey, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = createKey(path)
	}
	if err != nil {
		return nil, failf(exitCannotStart, "key file %s: %w; choose another with --key (a missing file is created)", path, withoutPath(err))
	}
	return key, nil
}

// readKey reads a private key.
func readKey(path string) (crypto.PrivKey, error) {
	b, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("not a libp2p private key: %w", err)
	}
	return key, nil
}

// readSecret reads a file. It refuses one that other users may access, because whoever has
// the key in it can impersonate the peer, or join the private network.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a directory")
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("other users can access it (mode %#o): chmod 600 %s", info.Mode().Perm(), path)
	}
	return os.ReadFile(path)
}

// createKey creates a file with a new key. The file appears complete or not at all.
func createKey(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("marshal a new key: %w", err)
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
	// If two processes create the key at once, the second link fails. A rename would
	// replace the first key.
	if err := os.Link(tmp.Name(), path); err != nil {
		return nil, err
	}
	return key, nil
}
