package main

// The program as a binary, built in the way in which the Dockerfile builds it.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// root is the directory of the repository.
const root = "../.."

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(b)
}

// instruction is an instruction of a Dockerfile.
type instruction struct{ name, args string }

func parseDockerfile(t testing.TB) []instruction {
	t.Helper()
	var list []instruction
	for line := range strings.Lines(readFile(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		list = append(list, instruction{name, args})
	}
	return list
}

// build returns the path of the binary, which is built once for all tests.
func build(t testing.TB) string {
	t.Helper()
	binary, err := buildOnce()
	require.NoError(t, err)
	return binary
}

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rendezvous-build")
	if err != nil {
		return "", err
	}
	buildDir = dir
	line, err := dockerfileBuildCommand(filepath.Join(dir, "rendezvous"))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return filepath.Join(dir, "rendezvous"), nil
})

// buildDir is the directory of the binary. TestMain removes it.
var buildDir string

// dockerfileBuildCommand returns the command of the Dockerfile that builds the program,
// with another output file.
func dockerfileBuildCommand(output string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if command, ok := strings.CutPrefix(line, "RUN "); ok && strings.Contains(command, "-o /rendezvous") {
			return strings.Replace(command, "-o /rendezvous", "-o "+output, 1), nil
		}
	}
	return "", errors.New("the Dockerfile does not build the program")
}
