package main

// The documents: what they say about this command is true, and its commands work.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v3"
)

const guide = "docs/operating.md"

// guideCommands returns the commands in the guide's sh blocks.
func guideCommands(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readFile(t, guide), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	require.Greater(t, len(lines), 8)
	return lines
}

// TestGuideCommands runs the commands of the guide in their order. The first one starts
// a point, and the others query it. The ports are other ones than in the guide, because
// those may be in use.
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
			cmd := exec.Command(filepath.Join(bin, fields[0]), fields[1:]...) //nolint:noctx // the test kills it at its end
			cmd.Env = env
			point := awaitPointProcess(t, startCmd(t, cmd))
			env = append(env, "RENDEZVOUS_POINT="+point.addrs[0])
		case strings.HasPrefix(line, "export RENDEZVOUS_POINT="): // already set, to this point
		default:
			runGuideCommand(t, env, line)
		}
	}
	require.FileExists(t, filepath.Join(home, "point.key"))
	_, err := readPSK(filepath.Join(home, "swarm.key"))
	require.NoError(t, err)
}

// runGuideCommand runs a command, which must succeed. It interrupts the command if the
// guide says that it runs until Ctrl-C.
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
		err = nil // CombinedOutput reports that ctx ended, although the command succeeded
	}
	require.NoError(t, err, "%s: %s", line, out)
}

// documents returns the texts of all documents.
func documents(t testing.TB) []string {
	t.Helper()
	var texts []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			texts = append(texts, string(text))
		}
	}
	require.Greater(t, len(texts), 10)
	return texts
}

// documentedCommands returns the commands of this program in all documents, except
// those that TestGuideCommands runs.
func documentedCommands(t testing.TB) []string {
	t.Helper()
	block := regexp.MustCompile("(?s)\n```\\w*\n.*?\n```|\n    [^\n]*")
	line := regexp.MustCompile(`(?m)^ *(rendezvous [a-z].*?)(?: +# .*)?$`)
	inline := regexp.MustCompile("`(rendezvous\\s[a-z][^`]*)`")
	var commands []string
	for _, text := range documents(t) {
		if text == readFile(t, guide) {
			text = regexp.MustCompile("(?s)```sh\n.*?```").ReplaceAllString(text, "")
		}
		text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
		found := inline.FindAllStringSubmatch(text, -1)
		for _, code := range block.FindAllString(text, -1) {
			found = append(found, line.FindAllStringSubmatch(code, -1)...)
		}
		for _, command := range found {
			commands = append(commands, strings.Join(strings.Fields(command[1]), " "))
		}
	}
	slices.Sort(commands)
	return slices.Compact(commands)
}

// TestCommands runs the commands of this program in the documents, except those that
// TestGuideCommands runs. It replaces ports and servers with local ones.
func TestCommands(t *testing.T) {
	t.Parallel()
	binary := build(t)
	commands := documentedCommands(t)
	require.GreaterOrEqual(t, len(commands), 7)
	for _, line := range commands {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(line)[1:]
			if args[0] != "serve" || slices.Contains(args, "--help") {
				require.Contains(t, runBinary(t, binary, args...), "USAGE")
				return
			}
			for i, arg := range args {
				args[i] = withLocalServer(t, arg)
			}
			point := startPointProcess(t, binary, append(args[1:], "--listen", "/ip4/127.0.0.1/tcp/0", "--key", t.TempDir()+"/key")...)
			require.NotContains(t, point.errs.String(), `"WARN"`)
			require.Zero(t, point.signal(syscall.SIGTERM), point.errs.String())
		})
	}
}

// withLocalServer replaces the address in an argument with a free port or, in a URL of
// Redis, with the address of a server that it starts.
func withLocalServer(t testing.TB, arg string) string {
	t.Helper()
	if arg == "127.0.0.1:8080" {
		return "127.0.0.1:0"
	}
	url := regexp.MustCompile(`^(redis://:password@)([^/]+)(.*)$`).FindStringSubmatch(arg)
	if url == nil {
		return arg
	}
	hosts := strings.Split(url[2], ",")
	if len(hosts) == 1 {
		hosts[0] = startRedis(t, append(documentedSettings(t), "--requirepass", "password")...)
		waitForListener(t, hosts[0])
	} else { // a point needs only one member of a cluster to answer
		for i := range hosts {
			hosts[i] = freeAddr(t)
		}
		startCluster(t, hosts[len(hosts)-1])
	}
	return url[1] + strings.Join(hosts, ",") + url[3]
}

// startCluster starts a cluster with a single member.
func startCluster(t testing.TB, addr string) {
	t.Helper()
	bus := freePort(t)
	startRedisAt(t, addr, append(documentedSettings(t), "--requirepass", "password", "--cluster-enabled", "yes", "--cluster-port", bus)...)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	cli := func(args ...string) string {
		args = append([]string{"--no-auth-warning", "-a", "password", "-p", port}, args...)
		out, _ := exec.CommandContext(t.Context(), "redis-cli", args...).CombinedOutput() // fails until the server listens
		return string(out)
	}
	waitFor(t, "the server to take all slots", func() bool {
		return strings.Contains(cli("cluster", "addslotsrange", "0", "16383"), "OK")
	})
	waitFor(t, "the cluster", func() bool { return strings.Contains(cli("cluster", "info"), "cluster_state:ok") })
}

// documentedSettings returns the settings that docs/operating-redis.md requires, as
// arguments. A server refuses to start with a setting that it does not know.
func documentedSettings(t testing.TB) []string {
	t.Helper()
	_, table, found := strings.Cut(readFile(t, "docs/operating-redis.md"), "| setting | value | why |\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	// Values that the table describes in words.
	values := map[string]string{"off": "", "twice what the table below says": "64mb", "1500 to 5000": "1500"}
	var settings []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \| (.+?) \|`).FindAllStringSubmatch(table, -1) {
		value := strings.Trim(row[2], "`")
		if v, ok := values[value]; ok {
			value = v
		}
		for _, setting := range regexp.MustCompile("`([a-z-]+)( [^`]*)?`").FindAllStringSubmatch(row[1], -1) {
			inline := strings.Trim(setting[2], ` "`)
			settings = append(settings, "--"+setting[1], inline+value)
		}
	}
	require.GreaterOrEqual(t, len(settings), 14)
	return settings
}

// TestGuideNames: the flags and variables in the documents exist, and the guide
// describes every alert.
func TestGuideNames(t *testing.T) {
	known := []string{"--help", "--now", "--point", "--config", "--profile"} // some are flags of systemctl and docker compose
	var variables []string
	for _, f := range settings(newApp(os.Stdout, os.Stderr)) {
		known = append(known, "--"+f.Names()[0])
		variables = append(variables, envName(f.Names()[0]))
	}
	for _, text := range documents(t) {
		for _, flag := range regexp.MustCompile(`\B--[a-z][a-z-]+`).FindAllString(text, -1) {
			require.Contains(t, known, flag)
		}
		for _, variable := range regexp.MustCompile(`RENDEZVOUS_\w+`).FindAllString(text, -1) {
			require.Contains(t, variables, variable)
		}
	}

	var described []string
	for _, heading := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(readFile(t, guide), -1) {
		described = append(described, heading[1])
	}
	var alerts []string
	for alert := range alertQueries(t) {
		alerts = append(alerts, alert)
	}
	slices.Sort(described)
	slices.Sort(alerts)
	require.Equal(t, alerts, described)
}

// TestGuidePaths: a point serves every path in the guide over HTTP.
func TestGuidePaths(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t, "--pprof")
	paths := regexp.MustCompile("(?m)^\\| `/(\\S*)` \\|").FindAllStringSubmatch(section(t, "## Watch it"), -1)
	require.Len(t, paths, 5)
	for _, path := range paths {
		status, _, _ := httpGet(t, point.url+path[1])
		require.Equal(t, 200, status, path[1])
	}
}

// TestGuideMetrics: the metrics in the documents exist in a client, or in a point before
// its first request.
func TestGuideMetrics(t *testing.T) {
	t.Parallel()
	redisPoint := startTestPoint(t, "--storage", "redis://"+startRedis(t))
	_, redisMetrics, _ := httpGet(t, redisPoint.url+"metrics")
	_, memoryMetrics, _ := httpGet(t, startTestPoint(t).url+"metrics")
	_, clientMetrics, _ := httpGet(t, "http://"+startMonitoredClient(t, redisPoint.addrs[0]))
	for _, text := range documents(t) {
		for _, name := range regexp.MustCompile(`libp2p_rendezvous_\w+`).FindAllString(text, -1) {
			require.Contains(t, redisMetrics+memoryMetrics+clientMetrics, "# TYPE "+name+" ", name)
		}
	}
	for _, reason := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(section(t, "### RendezvousRefusesMany"), -1) {
		require.Contains(t, redisMetrics, `libp2p_rendezvous_refused_total{reason="`+reason[1]+`"}`)
	}
}

// section returns the text of the guide between a heading and the next.
func section(t testing.TB, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, guide), heading+"\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n#")
	return text
}

// mebibytes returns a number of bytes in MiB.
func mebibytes(t *testing.T, bytes string) string {
	t.Helper()
	n, err := strconv.Atoi(bytes)
	require.NoError(t, err)
	return fmt.Sprintf("%d MiB", n>>20)
}

// TestDefaultLimits: the default limits of serve are those in SECURITY.md. A test of the
// library compares SECURITY.md with the defaults of the options.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]* \\| (.*) \\(`(\\w+)`\\) \\|$").FindAllStringSubmatch(readFile(t, "SECURITY.md"), -1) {
		documented[row[2]] = strings.NewReplacer(",", "", "20 s", "20s", " h", "h0m0s").Replace(row[1])
	}
	defaults := make(map[string]string)
	for _, f := range append(limitFlags(), standardFlags()...) {
		defaults[f.Names()[0]] = f.(cli.DocGenerationFlag).GetValue()
	}
	require.Equal(t, map[string]string{
		"WithTTL":                     "1 to " + defaults["max-ttl"] + " " + defaults["ttl"] + " by default",
		"WithStandardProtocol":        "1 s to " + defaults["standard-max-ttl"] + " " + defaults["standard-ttl"] + " by default",
		"WithMaxDiscoverLimit":        defaults["max-discover-limit"],
		"WithMaxRegistrations":        defaults["max-registrations"],
		"WithMaxRegistrationBytes":    defaults["max-registration-bytes"],
		"WithMaxRegistrationsPerPeer": defaults["max-registrations-per-peer"],
		"WithMaxRegistrationsPerIP":   defaults["max-registrations-per-ip"],
		"WithEgressLimit":             mebibytes(t, defaults["egress"]) + " per second " + mebibytes(t, defaults["egress-burst"]) + " at once",
		"WithRateLimit":               defaults["rate"] + " per second " + defaults["burst"] + " at once",
	}, documented)
}
