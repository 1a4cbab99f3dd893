package main

// docs/operating.md says nothing that is not so.

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const guide = "docs/operating.md"

// guideCommands returns the lines of the guide's blocks that are marked sh.
func guideCommands(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readFile(t, guide), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	require.Greater(t, len(lines), 8)
	return lines
}

// TestGuideCommands runs what the guide says, in its order: against the point that
// its first command starts, but for the ports, which may be taken here.
func TestGuideCommands(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(build(t))
	home := t.TempDir()
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "XDG_CONFIG_HOME="+home,
		"RENDEZVOUS_LISTEN=/ip4/127.0.0.1/tcp/0", "RENDEZVOUS_LOG_FORMAT=json")
	listen := freeAddr(t)
	for _, line := range guideCommands(t) {
		line = strings.ReplaceAll(line, "127.0.0.1:8080", listen)
		switch {
		case strings.HasPrefix(line, "rendezvous serve "):
			fields := strings.Fields(line)
			p := &process{t: t, cmd: exec.Command(filepath.Join(bin, fields[0]), fields[1:]...), ended: make(chan struct{})} //nolint:noctx // it is killed at the end
			p.cmd.Env = env
			p.begin()
			point := (&served{process: p}).await()
			env = append(env, "RENDEZVOUS_POINT="+point.at.addrs[0])
		case strings.HasPrefix(line, "export RENDEZVOUS_POINT="): // as above
		default:
			runGuideCommand(t, env, line)
		}
	}
}

// runGuideCommand runs a command to its end, or interrupts it as the guide says.
func runGuideCommand(t testing.TB, env []string, line string) {
	t.Helper()
	limit := 30 * time.Second
	if strings.Contains(line, "until Ctrl-C") {
		limit = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if limit < 5*time.Second && errors.Is(err, context.DeadlineExceeded) {
		err = nil // interrupted, and ended well
	}
	require.NoError(t, err, "%s: %s", line, out)
}

// The flags and alerts in the guide are those that there are.
func TestGuideNames(t *testing.T) {
	text := readFile(t, guide)
	known := []string{"--help", "--now", "--point", "--config"}
	for _, name := range flagNames(newApp(os.Stdout, os.Stderr)) {
		known = append(known, "--"+name)
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(text, -1) {
		require.Contains(t, known, flag)
	}

	var described []string
	for _, heading := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(text, -1) {
		described = append(described, heading[1])
	}
	var alerts []string
	for alert := range alertQueries(t) {
		alerts = append(alerts, alert)
	}
	slices.Sort(described)
	slices.Sort(alerts)
	require.Equal(t, alerts, described, "every alert is described")
}

// TestGuideMetrics: metrics in the guide are there in a point that nobody has asked
// anything, or in a client.
func TestGuideMetrics(t *testing.T) {
	t.Parallel()
	point := beginPoint(t)
	_, ofPoint, _ := get(t, point.url+"metrics")
	_, ofClient, _ := get(t, "http://"+startClient(t, point.addrs[0]))
	for _, name := range regexp.MustCompile(`libp2p_rendezvous_\w+`).FindAllString(readFile(t, guide), -1) {
		require.Contains(t, ofPoint+ofClient, "# TYPE "+name+" ", name)
	}
	for _, reason := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(section(t, "### RendezvousRefusesMany"), -1) {
		require.Contains(t, ofPoint, `libp2p_rendezvous_refused_total{reason="`+reason[1]+`"}`)
	}
}

// section returns the guide from a heading to the next.
func section(t testing.TB, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, guide), heading+"\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n#")
	return text
}
