package main

// The command line: help, errors, keys.

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v3"
)

// TestUserErrors: every error of a user is one line with an exit status.
func TestUserErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	usedTCP, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer usedTCP.Close()
	_, usedPort, err := net.SplitHostPort(usedTCP.Addr().String())
	require.NoError(t, err)
	usedUDP, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:"+usedPort)
	require.NoError(t, err)
	defer usedUDP.Close()
	openDB := filepath.Join(dir, "db")
	startTestPoint(t, "--storage", "leveldb:"+openDB)
	notDir := file("plain", "", 0o600)
	noPoint := "/ip4/127.0.0.1/tcp/" + freePort(t) + "/p2p/12D3KooWN262PQEJnZsohkskfQvdtHgS5G4ZYuBYkBPc2HSGM6wP"

	for name, c := range map[string]struct {
		args []string
		code int
		want string // part of the error
	}{
		"unknown command":       {[]string{"sevre"}, exitUsage, `unknown command "sevre"`},
		"unknown, with flags":   {[]string{"sevre", "--http", "127.0.0.1:0"}, exitUsage, `unknown command "sevre"`},
		"flag before command":   {[]string{"--http", "127.0.0.1:0", "serve"}, exitUsage, `no command before the flag "http"`},
		"unknown flag":          {[]string{"serve", "--prot", "1"}, exitUsage, `unknown flag "prot"; the nearest is --pprof`},
		"flag of another":       {[]string{"ping", "--points", noPoint}, exitUsage, "the nearest is --point;"},
		"point as an argument":  {[]string{"discover", noPoint, "news"}, exitUsage, "name a point with --point"},
		"point to ping":         {[]string{"ping", noPoint}, exitUsage, "name a point with --point"},
		"not a number":          {[]string{"serve", "--max-connections", "many"}, exitUsage, "many"},
		"no connections":        {[]string{"serve", "--max-connections", "0"}, exitUsage, "minimum is 1"},
		"argument":              {[]string{"serve", "now"}, exitUsage, `unexpected argument "now"`},
		"unknown log level":     {[]string{"serve", "--log-level", "loud"}, exitUsage, "loud"},
		"unknown log format":    {[]string{"serve", "--log-format", "xml"}, exitUsage, "xml"},
		"bad listen address":    {[]string{"serve", "--listen", "127.0.0.1:4040"}, exitUsage, "not a multiaddr"},
		"bad announced address": {[]string{"serve", "--announce", "here"}, exitUsage, "not a multiaddr"},
		"announced wildcard":    {[]string{"serve", "--announce", "/ip4/0.0.0.0/tcp/4040"}, exitUsage, "all addresses of this machine"},
		"registered wildcard":   {[]string{"register", "--point", noPoint, "--announce", "/ip6/::/tcp/4040", "news"}, exitUsage, "all addresses of this machine"},
		"another's address":     {[]string{"serve", "--announce", noPoint}, exitUsage, "another peer"},
		"register another's":    {[]string{"register", "--point", noPoint, "--announce", noPoint, "news"}, exitUsage, "another peer"},
		"mapped network":        {[]string{"serve", "--deny", "::ffff:192.0.2.0/120"}, exitUsage, "not a peer ID"},
		"bad deny list":         {[]string{"serve", "--deny", "everybody"}, exitUsage, "not a peer ID"},
		"bad storage":           {[]string{"serve", "--storage", "postgres:x"}, exitUsage, `"postgres"…`},
		"bad storage host":      {[]string{"serve", "--storage", "redis://127.0.0.1:none"}, exitUsage, "port"},
		"bad limit":             {[]string{"serve", "--max-ttl", "100h"}, exitUsage, "--max-ttl: TTL of 20s by default and 100h0m0s"},
		"bad rate":              {[]string{"serve", "--rate", "-1"}, exitUsage, "--rate, --burst: rate limit of -1"},
		"long standard TTL":     {[]string{"serve", "--standard-ttl", "80h"}, exitUsage, "--standard-ttl, --standard-max-ttl: "},
		"served standard ID":    {[]string{"serve", "--standard-id", "/rendezvous/1.0.0"}, exitUsage, "--standard-id: "},
		"bad stop timeout":      {[]string{"serve", "--stop-timeout", "-1s"}, exitUsage, "--stop-timeout"},
		"not a local address":   {[]string{"serve", "--listen", "/ip4/192.0.2.1/tcp/1"}, exitCannotStart, "192.0.2.1"},
		"TCP port in use":       {[]string{"serve", "--listen", "/ip4/127.0.0.1/tcp/" + usedPort}, exitCannotStart, "in use"},
		"UDP port in use":       {[]string{"serve", "--listen", "/ip4/127.0.0.1/udp/" + usedPort + "/quic-v1"}, exitCannotStart, "in use"},
		"HTTP port in use":      {[]string{"serve", "--http", usedTCP.Addr().String()}, exitCannotStart, "in use"},
		"bad HTTP address":      {[]string{"serve", "--http", "8080"}, exitUsage, "127.0.0.1:8080"},
		"database in use":       {[]string{"serve", "--storage", "leveldb:" + openDB}, exitCannotStart, "--storage: database " + openDB + " is in use by another process"},
		"database is a file":    {[]string{"serve", "--storage", "leveldb:" + notDir}, exitCannotStart, "--storage: database " + notDir + ": "},
		"key is a directory":    {[]string{"serve", "--key", dir}, exitCannotStart, "is a directory"},
		"key below a file":      {[]string{"serve", "--key", filepath.Join(notDir, "key")}, exitCannotStart, "not a directory"},
		"readable key":          {[]string{"serve", "--key", file("open", "x", 0o644)}, exitCannotStart, "chmod 600"},
		"not a key":             {[]string{"serve", "--key", file("nonsense", "x", 0o600)}, exitCannotStart, "not a libp2p private key"},
		"no config file":        {[]string{"serve", "--config", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		"config is a list":      {[]string{"serve", "--config", file("list.yml", "- a\n- b\n", 0o600)}, exitUsage, "not a YAML mapping"},
		"config with typo":      {[]string{"serve", "--config", file("typo.yml", "lisen: x\n", 0o600)}, exitUsage, `"lisen": no flag has this name; the nearest is "listen"`},
		"another user's home":   {[]string{"serve", "--storage", "leveldb:~somebody/db"}, exitUsage, "home directory"},
		"nested config":         {[]string{"serve", "--config", file("nested.yml", "http: {port: 1}\n", 0o600)}, exitUsage, "not a mapping"},
		"config, not a number":  {[]string{"serve", "--config", file("number.yml", "burst: many\n", 0o600)}, exitUsage, "number.yml"},
		"no point":              {[]string{"discover", "news"}, exitUsage, "--point"},
		"bad point":             {[]string{"discover", "--point", "here", "news"}, exitUsage, "not a multiaddr"},
		"point without ID":      {[]string{"ping", "--point", "/ip4/127.0.0.1/tcp/1"}, exitUsage, "/p2p/"},
		"no namespace":          {[]string{"discover", "--point", noPoint}, exitUsage, "no namespace given"},
		"empty namespace":       {[]string{"discover", "--point", noPoint, ""}, exitUsage, "namespace is empty"},
		"two namespaces":        {[]string{"watch", "--point", noPoint, "a", "b"}, exitUsage, "2 namespaces given"},
		"long namespace":        {[]string{"register", "--point", noPoint, strings.Repeat("x", 257)}, exitUsage, "256"},
		"bad count":             {[]string{"ping", "--count", "0", "--point", noPoint}, exitUsage, "--count"},
		"ping, unreachable":     {[]string{"ping", "--point", noPoint}, exitNoAnswer, "connection refused"},
		"watch, unreachable":    {[]string{"watch", "--point", noPoint, "news"}, exitNoAnswer, "cannot reach"},
		"discover, no answer":   {[]string{"discover", "--point", noPoint, "news"}, exitNoAnswer, "cannot reach"},
		"bench, unreachable":    {[]string{"bench", "--peers", "2", "--point", noPoint}, exitNoAnswer, "cannot reach"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if args[0] == "serve" && !strings.Contains(strings.Join(args, " "), "--key") {
				args = append(args[:1:1], append([]string{"--key", t.TempDir() + "/key", "--listen", "/ip4/127.0.0.1/tcp/0"}, args[1:]...)...)
			}
			out, errs, code := runCommand(t, args...)
			require.Equal(t, c.code, code, errs)
			require.Contains(t, errs, c.want)
			require.Regexp(t, `^rendezvous: [^\n]+\n$`, errs, "one line")
			require.Less(t, len(errs), 400)
			require.Empty(t, out)
		})
	}
}

// TestBadLimits: the error of each limit that is out of range names its flag.
func TestBadLimits(t *testing.T) {
	for _, f := range slices.Concat(limitFlags(), standardFlags()) {
		name, bad := f.Names()[0], ""
		switch f.(type) {
		case *cli.IntFlag, *cli.Int64Flag, *cli.FloatFlag:
			bad = "-1"
		case *cli.DurationFlag:
			bad = "-1s"
		default:
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, errs, code := runCommand(t, "serve", "--key", t.TempDir()+"/key", "--listen", "/ip4/127.0.0.1/tcp/0", "--"+name, bad)
			require.Equal(t, exitUsage, code, errs)
			require.Contains(t, errs, "--"+name)
		})
	}
}

func TestKeyIsCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "key")
	first, errs, code := runCommand(t, "id", "--key", path)
	require.Zero(t, code, errs)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "no temporary file remains")

	second, _, _ := runCommand(t, "id", "--key", path)
	require.Equal(t, first, second)
	require.Regexp(t, `^12D3KooW\w+\n$`, first)
}

func TestHelpAndVersion(t *testing.T) {
	out, _, code := runCommand(t, "--version")
	require.Zero(t, code)
	require.Regexp(t, `^rendezvous version \S+ \(go1\.\S+, \w+/\w+\)\n$`, out)

	out, _, code = runCommand(t, "--help")
	require.Zero(t, code)
	require.Contains(t, out, "EXIT STATUS")
	for _, c := range newApp(os.Stdout, os.Stderr).Commands {
		require.Contains(t, out, c.Name)
		help, _, code := runCommand(t, c.Name, "--help")
		require.Zero(t, code)
		require.Contains(t, help, "   rendezvous "+c.Name, "help has an example")
		for _, f := range c.Flags {
			require.Contains(t, help, "$"+envName(f.Names()[0]), "help names the variable of each flag")
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, _, code := runCommand(t, "completion", shell)
		require.Zero(t, code)
		require.Contains(t, out, "rendezvous")
	}
	out, _, code = runCommand(t, "serve", "--max", "--generate-shell-completion")
	require.Zero(t, code)
	require.Contains(t, out, "--max-registrations")
}

// TestReport: an error without an exit status of its own is a usage error.
func TestReport(t *testing.T) {
	var w output
	require.Equal(t, exitUsage, report(&w, context.DeadlineExceeded))
	require.Equal(t, "rendezvous: context deadline exceeded\n", w.String())
	require.Zero(t, report(&w, nil))
}
