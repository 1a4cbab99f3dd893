package main

// docs/operating.md, and what other documents say of this command, says nothing that
// is not so.

import (
	"context"
	"errors"
	"net"
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
	"github.com/urfave/cli/v3"
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
	require.FileExists(t, filepath.Join(home, "point.key"))
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

// documents returns the text of each document.
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

// documentedCommands returns what documents do with the program, but for what
// TestGuideCommands runs.
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

// TestCommands runs what documents other than the guide do with the program, and what
// the guide only shows: on ports that are free, and with servers that are here.
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
				require.Contains(t, ask(t, binary, args...), "USAGE")
				return
			}
			for i, arg := range args {
				args[i] = hereInstead(t, arg)
			}
			point := serveProcess(t, binary, append(args[1:], "--listen", "/ip4/127.0.0.1/tcp/0", "--key", t.TempDir()+"/key")...)
			require.NotContains(t, point.errs.String(), `"WARN"`)
			require.Zero(t, point.signal(syscall.SIGTERM), point.errs.String())
		})
	}
}

// hereInstead replaces the place of a server in an argument by one that is here.
func hereInstead(t testing.TB, arg string) string {
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
		waitFor(t, "the server", func() bool {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", hosts[0])
			return err == nil && c.Close() == nil
		})
	} else { // of a cluster, one that answers is enough
		for i := range hosts {
			hosts[i] = freeAddr(t)
		}
		startCluster(t, hosts[len(hosts)-1])
	}
	return url[1] + strings.Join(hosts, ",") + url[3]
}

// startCluster starts the smallest cluster that there is.
func startCluster(t testing.TB, addr string) {
	t.Helper()
	bus := freePort(t)
	redisProcess(t, addr, append(documentedSettings(t), "--requirepass", "password", "--cluster-enabled", "yes", "--cluster-port", bus)...)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	cli := func(args ...string) string {
		args = append([]string{"--no-auth-warning", "-a", "password", "-p", port}, args...)
		out, _ := exec.CommandContext(t.Context(), "redis-cli", args...).CombinedOutput() // it may not listen yet
		return string(out)
	}
	waitFor(t, "the server to take all slots", func() bool {
		return strings.Contains(cli("cluster", "addslotsrange", "0", "16383"), "OK")
	})
	waitFor(t, "the cluster", func() bool { return strings.Contains(cli("cluster", "info"), "cluster_state:ok") })
}

// documentedSettings returns those that docs/operating-redis.md wants of a server, which
// does not start with one that it does not know.
func documentedSettings(t testing.TB) []string {
	t.Helper()
	_, table, found := strings.Cut(readFile(t, "docs/operating-redis.md"), "| setting | value | why |\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	values := map[string]string{"off": "", "twice what the table below says": "64mb", "1500 to 5000": "1500"}
	var settings []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \| (.+?) \|`).FindAllStringSubmatch(table, -1) {
		value := strings.Trim(row[2], "`")
		if meant, is := values[value]; is {
			value = meant
		}
		for _, setting := range regexp.MustCompile("`([a-z-]+)( [^`]*)?`").FindAllStringSubmatch(row[1], -1) {
			own := strings.Trim(setting[2], ` "`)
			settings = append(settings, "--"+setting[1], own+value)
		}
	}
	require.GreaterOrEqual(t, len(settings), 14)
	return settings
}

// The flags and variables in the documents are those that there are, and the guide
// describes every alert.
func TestGuideNames(t *testing.T) {
	known := []string{"--help", "--now", "--point", "--config", "--profile"} // of systemctl and docker compose, too
	var variables []string
	for _, name := range flagNames(newApp(os.Stdout, os.Stderr)) {
		known = append(known, "--"+name)
		variables = append(variables, envName(name))
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
	require.Equal(t, alerts, described, "every alert is described")
}

// TestGuidePaths: what the guide says a point serves it serves, and profiles only when told.
func TestGuidePaths(t *testing.T) {
	t.Parallel()
	point := beginPoint(t, "--pprof")
	paths := regexp.MustCompile("(?m)^\\| `/(\\S*)` \\|").FindAllStringSubmatch(section(t, "## Watch it"), -1)
	require.Len(t, paths, 5)
	for _, path := range paths {
		status, _, _ := get(t, point.url+path[1])
		require.Equal(t, 200, status, path[1])
	}
}

// TestGuideMetrics: metrics in the documents are there in a point that nobody has asked
// anything, or in a client.
func TestGuideMetrics(t *testing.T) {
	t.Parallel()
	point := beginPoint(t, "--storage", "redis://"+startRedis(t))
	_, ofPoint, _ := get(t, point.url+"metrics")
	_, inMemory, _ := get(t, beginPoint(t).url+"metrics")
	_, ofClient, _ := get(t, "http://"+startClient(t, point.addrs[0]))
	for _, text := range documents(t) {
		for _, name := range regexp.MustCompile(`libp2p_rendezvous_\w+`).FindAllString(text, -1) {
			require.Contains(t, ofPoint+inMemory+ofClient, "# TYPE "+name+" ", name)
		}
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

// TestDefaultLimits: those of serve are what the README says of the library's options,
// which a test beside those compares with it, too.
func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	said := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| [^|]* \\| (.*) \\(`(\\w+)`\\) \\|$").FindAllStringSubmatch(readFile(t, "README.md"), -1) {
		said[row[2]] = strings.NewReplacer(",", "", "20 s", "20s").Replace(row[1])
	}
	of := make(map[string]string)
	for _, f := range limitFlags() {
		of[f.Names()[0]] = f.(cli.DocGenerationFlag).GetValue()
	}
	require.Equal(t, map[string]string{
		"WithTTL":                     "1 to " + of["max-ttl"] + " " + of["ttl"] + " by default",
		"WithMaxDiscoverLimit":        of["max-discover-limit"],
		"WithMaxRegistrations":        of["max-registrations"],
		"WithMaxRegistrationsPerPeer": of["max-registrations-per-peer"],
		"WithMaxRegistrationsPerIP":   of["max-registrations-per-ip"],
		"WithRateLimit":               of["rate"] + " per second " + of["burst"] + " at once",
	}, said)
}
