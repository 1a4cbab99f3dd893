package main

// What can be checked of the packages without Docker and without systemd as init.

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestDockerfile(t *testing.T) {
	var last []instruction // the final stage
	for _, i := range dockerfile(t) {
		require.NotEqual(t, "ADD", i.name, "it unpacks and downloads")
		if i.name == "FROM" {
			require.Regexp(t, `^(scratch|\S+:\d[^ ]*( AS \w+)?)$`, i.args, "an image with a version")
			last = nil
		}
		last = append(last, i)
	}
	values := make(map[string]string)
	for _, i := range last {
		values[i.name] = i.args
	}
	require.Equal(t, "scratch", values["FROM"], "nothing but the program")
	require.Regexp(t, `^[1-9]\d+:[1-9]\d+$`, values["USER"], "not root, by number, for there are no names")
	var entrypoint, command []string
	require.NoError(t, json.Unmarshal([]byte(values["ENTRYPOINT"]), &entrypoint), "without a shell, which is not there")
	require.NoError(t, json.Unmarshal([]byte(values["CMD"]), &command))
	require.Equal(t, []string{"/rendezvous", "serve"}, append(entrypoint, command...))
}

// jailed makes a command see nothing of the file system but a directory, and be
// nobody in particular.
func jailed(dir string) *syscall.SysProcAttr {
	if os.Getuid() == 0 {
		return &syscall.SysProcAttr{Chroot: dir, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	return &syscall.SysProcAttr{
		Chroot:      dir,
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getgid(), Size: 1}},
	}
}

// TestImage runs the program as the image does: alone in an empty file system, but
// for a directory of its own, as a user that is not root.
func TestImage(t *testing.T) {
	t.Parallel()
	binary := build(t)
	dir, err := os.MkdirTemp("", "image") //nolint:usetesting // t.TempDir lets nobody else in
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Link(binary, filepath.Join(dir, "rendezvous")))
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Chown(data, jailedOwner(), jailedOwner()))

	p := &process{t: t, cmd: exec.Command("/rendezvous", "serve", "--log-format", "json", //nolint:noctx // it is killed below
		"--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"), ended: make(chan struct{})}
	p.cmd.Path, p.cmd.Dir, p.cmd.SysProcAttr = "/rendezvous", "/", jailed(dir)
	for _, i := range dockerfile(t) {
		if i.name == "ENV" {
			p.cmd.Env = append(p.cmd.Env, i.args)
		}
	}
	p.begin()
	point := (&served{process: p}).await()
	_, errs, code := command(t, "ping", "--point", point.at.addrs[0])
	require.Zero(t, code, errs)
	status, _, _ := get(t, point.at.url)
	require.Equal(t, 200, status)
	require.Zero(t, p.signal(syscall.SIGTERM), p.errs.String())
	require.FileExists(t, filepath.Join(data, "key"))
}

// jailedOwner is, seen from here, who a jailed command is.
func jailedOwner() int {
	if os.Getuid() == 0 {
		return 65532
	}
	return os.Getuid()
}

func TestSystemdUnit(t *testing.T) {
	unit := readFile(t, "packaging/rendezvous.service")
	path := filepath.Join(t.TempDir(), "rendezvous.service")
	installed := strings.Replace(unit, "/usr/local/bin/rendezvous", build(t), 1)
	require.NotEqual(t, unit, installed)
	require.NoError(t, os.WriteFile(path, []byte(installed), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s (systemd-analyze is needed, which .ci/deps installs)", out)
	require.NotContains(t, string(out), "rendezvous.service", "no warnings")

	out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=20", path).CombinedOutput()
	require.NoError(t, err, "exposed to more than 2.0 of 10: %s", out)
}

// The settings that come with the unit are settings that there are.
func TestPackagedSettings(t *testing.T) {
	settings := regexp.MustCompile(`(?m)^#([a-z-]+:)`).ReplaceAllString(readFile(t, "packaging/rendezvous.yml"), "$1")
	settings = strings.ReplaceAll(settings, "\n#  -", "\n  -")
	path := filepath.Join(t.TempDir(), "rendezvous.yml")
	require.NoError(t, os.WriteFile(path, []byte(settings), 0o600))
	_, errs, code := command(t, "serve", "--config", path, "--log-level", "nonsense")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--log-level", "and nothing else is wrong")
}

func TestCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Image       string
			Build       string
			Profiles    []string
			Command     []string
			Environment map[string]string
			Volumes     []string
			Ports       []string
		}
		Volumes map[string]any
	}
	require.NoError(t, yaml.Unmarshal([]byte(readFile(t, "compose.yaml")), &compose))
	require.Len(t, compose.Services, 7)
	ports := make(map[string]string)
	owners := make(map[string]string)
	for name, service := range compose.Services {
		require.NotEqual(t, service.Image == "", service.Build == "", name)
		require.NotRegexp(t, `^[^:]*$|:latest$`, service.Image+":", "%s: a version", name)
		for _, v := range service.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, ".") {
				_, err := os.Stat(filepath.Join(root, from))
				require.NoError(t, err, name)
				continue
			}
			require.Contains(t, compose.Volumes, from, name)
			require.Empty(t, owners[from], "%s: a volume of its own, for its key", name)
			owners[from] = name
		}
		for _, p := range service.Ports {
			require.Regexp(t, `^(404[0-7]:|127\.0\.0\.1:)`, p, "%s: only points are open to others", name)
			listen, transport, _ := strings.Cut(p, "/")
			at := listen[:strings.LastIndex(listen, ":")+1] + transport
			require.Empty(t, ports[at], "%s: all can run together", name)
			ports[at] = name
		}
	}
	// What the points are told, they understand.
	points := []string{"point", "shared1", "shared2", "shared3"}
	for _, name := range points {
		for setting, value := range compose.Services[name].Environment {
			t.Setenv(setting, value)
		}
		_, errs, _ := command(t, append(compose.Services[name].Command, "--storage", "none")...)
		require.Contains(t, errs, "--storage", "%s: and nothing before it", name)
	}

	// Those that share a registry listen where their ports are, and find the server as
	// they want it.
	valkey := compose.Services["valkey"]
	require.Equal(t, []string{"shared"}, valkey.Profiles)
	require.Empty(t, valkey.Ports, "the registry is for points only")
	require.Equal(t, "valkey-server", valkey.Command[0])
	server := freeAddr(t)
	redisProcess(t, server, valkey.Command[1:]...)
	waitFor(t, "the server", func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", server)
		return err == nil && c.Close() == nil
	})
	for _, name := range points[1:] {
		service := compose.Services[name]
		require.Equal(t, []string{"shared"}, service.Profiles, name)
		for listen := range strings.SplitSeq(service.Environment["RENDEZVOUS_LISTEN"], ",") {
			part := strings.Split(listen, "/") // "", ip4, 0.0.0.0, tcp, 4042
			require.Contains(t, service.Ports, part[4]+":"+part[4]+"/"+part[3], name)
		}
		at, err := url.Parse(service.Environment["RENDEZVOUS_STORAGE"])
		require.NoError(t, err)
		require.Equal(t, "valkey:6379", at.Host, name)
		require.Contains(t, readFile(t, "packaging/prometheus.yml"), name)
		point := beginPoint(t, "--storage", strings.Replace(at.String(), at.Host, server, 1))
		require.NotContains(t, point.errs.String(), `"WARN"`, name)
	}

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(readFile(t, "packaging/prometheus.yml")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yml"), []byte(readFile(t, "dashboards/alerts.yml")), 0o600))
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, readFile(t, "packaging/prometheus.yml"), "job_name: rendezvous", "which the alerts ask for")
}
