package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSystemdCommands runs the commands with which the guide installs the unit, in a
// directory instead of the root of the file system, and without a running systemd.
// TestSystemdUnit checks the unit itself.
func TestSystemdCommands(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```text\n(install .*?)```").FindStringSubmatch(readFile(t, guide))
	require.NotNil(t, block)
	dir := t.TempDir()
	for _, target := range []string{"usr/local/bin", "etc/systemd/system"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, target), 0o755))
	}
	unit := ""
	for line := range strings.Lines(block[1]) {
		line = strings.TrimSpace(line)
		switch program, _, _ := strings.Cut(line, " "); program {
		case "install":
			args := strings.Fields(line)
			require.Len(t, args, 5)
			source, target := strings.Replace(args[3], "bin/rendezvous", build(t), 1), dir+args[4]
			runIn(t, root, "install", args[1], args[2], source, target)
		case "systemctl":
			if enabled, ok := strings.CutPrefix(line, "systemctl enable --now "); ok {
				unit = enabled
				runIn(t, root, "systemctl", "--root="+dir, "enable", unit)
				continue
			}
			require.Equal(t, "systemctl daemon-reload", line)
		case "journalctl":
			require.Equal(t, "journalctl -u "+unit+" -f", line)
		default:
			require.Fail(t, "this test does not know how to run this command", line)
		}
	}
	require.FileExists(t, dir+"/etc/rendezvous.yml")
	wanted, err := filepath.Glob(dir + "/etc/systemd/system/*.wants/" + unit + ".service")
	require.NoError(t, err)
	require.Len(t, wanted, 1, "the unit is started at boot")
}

func runIn(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, out)
}
