package main

// Paths that users give.

import (
	"os"
	"path/filepath"
	"strings"
)

// userPath replaces a leading ~/ with the home directory. A shell does so only at the
// beginning of a word, so not in leveldb:~/db or --key=~/key, and nobody does so in a
// variable or a configuration file.
func userPath(path string) (string, error) {
	first, rest, _ := strings.Cut(filepath.ToSlash(path), "/")
	switch {
	case !strings.HasPrefix(first, "~"):
		return path, nil
	case first != "~":
		return "", usagef("path %q: %s stands for the home directory of another user in a shell; write out the path, or begin it with ./", path, first)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("path %q: %w", path, err)
	}
	return filepath.Join(home, filepath.FromSlash(rest)), nil
}
