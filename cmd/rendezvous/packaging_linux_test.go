package main

// The packaging, as far as it can be tested without Docker and without systemd as init.

import (
	"encoding/json"
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
	var stage []instruction // at the end, the final stage
	for _, i := range parseDockerfile(t) {
		require.NotEqual(t, "ADD", i.name, "use COPY: ADD unpacks archives and downloads URLs")
		if i.name == "FROM" {
			require.Regexp(t, `^(scratch|\S+:\d[^ ]*( AS \w+)?)$`, i.args, "an image has a version")
			stage = nil
		}
		stage = append(stage, i)
	}
	values := make(map[string]string)
	for _, i := range stage {
		values[i.name] = i.args
	}
	require.Equal(t, "scratch", values["FROM"], "the image has nothing but the program")
	require.Regexp(t, `^[1-9]\d+:[1-9]\d+$`, values["USER"], "the user is not root, and is a number because the image has no user names")
	var entrypoint, command []string
	require.NoError(t, json.Unmarshal([]byte(values["ENTRYPOINT"]), &entrypoint), "the exec form, because the image has no shell")
	require.NoError(t, json.Unmarshal([]byte(values["CMD"]), &command))
	require.Equal(t, []string{"/rendezvous", "serve"}, append(entrypoint, command...))
}

// sandboxed runs a command with dir as the root of its file system, as user 65532.
func sandboxed(dir string) *syscall.SysProcAttr {
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

// TestImage runs the program as the image does: in a file system with nothing but the
// program and an empty data directory, as a user that is not root.
func TestImage(t *testing.T) {
	t.Parallel()
	binary := build(t)
	dir, err := os.MkdirTemp("", "image") //nolint:usetesting // other users cannot access t.TempDir
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Link(binary, filepath.Join(dir, "rendezvous")))
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Chown(data, sandboxOwner(), sandboxOwner()))

	cmd := exec.Command("/rendezvous", "serve", "--log-format", "json", //nolint:noctx // the test kills it at its end
		"--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0")
	cmd.Path, cmd.Dir, cmd.SysProcAttr = "/rendezvous", "/", sandboxed(dir)
	for _, i := range parseDockerfile(t) {
		if i.name == "ENV" {
			cmd.Env = append(cmd.Env, i.args)
		}
	}
	point := awaitPointProcess(t, startCmd(t, cmd))
	_, errs, code := runCommand(t, "ping", "--point", point.addrs[0])
	require.Zero(t, code, errs)
	status, _, _ := httpGet(t, point.url)
	require.Equal(t, 200, status)
	require.Zero(t, point.signal(syscall.SIGTERM), point.errs.String())
	require.FileExists(t, filepath.Join(data, "key"))
}

// sandboxOwner returns the user ID, outside of the sandbox, of a sandboxed command.
func sandboxOwner() int {
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
	require.NoError(t, err, "%s (.ci/deps installs systemd-analyze)", out)
	require.NotContains(t, string(out), "rendezvous.service", "no warnings about the unit")

	out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=20", path).CombinedOutput()
	require.NoError(t, err, "the exposure level is above 2.0 of 10: %s", out)
}

// TestPackagedSettings: all settings in the packaged configuration file exist, those
// that are commented out included.
func TestPackagedSettings(t *testing.T) {
	settings := regexp.MustCompile(`(?m)^#([a-z-]+:)`).ReplaceAllString(readFile(t, "packaging/rendezvous.yml"), "$1")
	settings = strings.ReplaceAll(settings, "\n#  -", "\n  -")
	path := filepath.Join(t.TempDir(), "rendezvous.yml")
	require.NoError(t, os.WriteFile(path, []byte(settings), 0o600))
	_, errs, code := runCommand(t, "serve", "--config", path, "--log-level", "nonsense")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "--log-level", "only the bad level is an error")
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
		require.NotRegexp(t, `^[^:]*$|:latest$`, service.Image+":", "%s: an image has a version", name)
		for _, v := range service.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, ".") {
				_, err := os.Stat(filepath.Join(root, from))
				require.NoError(t, err, name)
				continue
			}
			require.Contains(t, compose.Volumes, from, name)
			require.Empty(t, owners[from], "%s: no two services share a volume: it has the key", name)
			owners[from] = name
		}
		for _, p := range service.Ports {
			require.Regexp(t, `^(404[0-7]:|127\.0\.0\.1:)`, p, "%s: only points listen on all interfaces", name)
			listen, transport, _ := strings.Cut(p, "/")
			at := listen[:strings.LastIndex(listen, ":")+1] + transport
			require.Empty(t, ports[at], "%s: no two services use the same port", name)
			ports[at] = name
		}
	}
	// All settings of the points exist: the first error is about the bad storage.
	points := []string{"point", "shared1", "shared2", "shared3"}
	for _, name := range points {
		for setting, value := range compose.Services[name].Environment {
			t.Setenv(setting, value)
		}
		_, errs, _ := runCommand(t, append(compose.Services[name].Command, "--storage", "none")...)
		require.Contains(t, errs, "--storage", name)
	}

	// The points that share a registry listen on their published ports, and work with a
	// server that has the settings of the file.
	valkey := compose.Services["valkey"]
	require.Equal(t, []string{"shared"}, valkey.Profiles)
	require.Empty(t, valkey.Ports, "only points can reach the registry")
	require.Equal(t, "valkey-server", valkey.Command[0])
	server := freeAddr(t)
	startRedisAt(t, server, valkey.Command[1:]...)
	waitForListener(t, server)
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
		point := startTestPoint(t, "--storage", strings.Replace(at.String(), at.Host, server, 1))
		require.NotContains(t, point.errs.String(), `"WARN"`, name)
	}

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(readFile(t, "packaging/prometheus.yml")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yml"), []byte(readFile(t, "dashboards/alerts.yml")), 0o600))
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, readFile(t, "packaging/prometheus.yml"), "job_name: rendezvous", "the alerts select this job")
}
