package redisstorage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestOpenWaits: a point may be started before its server is.
func TestOpenWaits(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	node.signal(t, syscall.SIGKILL)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Open(ctx, node.url())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, rendezvous.ErrUnreachable)
	require.Less(t, time.Since(began), 5*time.Second)

	opened := make(chan error, 1)
	go func() {
		s, err := Open(t.Context(), node.url())
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	time.Sleep(300 * time.Millisecond)
	node.start(t)
	require.NoError(t, <-opened)
}

func TestOpenSettings(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server", "--requirepass", "se@cret")
	url := "redis://:se%40cret@" + node.addr

	s := open(t, url+"/2", WithPrefix("mine"))
	add(t, s, testRecord("ns", 1, time.Minute))
	others := node.cli(t, "-a", "se@cret", "-n", "2", "--no-auth-warning",
		"eval", "return #redis.call('KEYS', '*') - #redis.call('KEYS', 'mine:{18e}:*')", "0")
	require.Equal(t, "0", others)
	require.Empty(t, sample(t, open(t, url+"/2"), "ns"), "another prefix")
	require.Empty(t, sample(t, open(t, url, WithPrefix("mine")), "ns"), "another database")
	require.Len(t, sample(t, open(t, url+"/2", WithPrefix("mine")), "ns"), 1)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for what, open := range map[string]func() (*Storage, error){
		"wrong password":            func() (*Storage, error) { return Open(ctx, "redis://:wrong@"+node.addr) },
		"no password":               func() (*Storage, error) { return Open(ctx, node.url()) },
		"no such database":          func() (*Storage, error) { return Open(ctx, url+"/99") },
		"nodes that are no cluster": func() (*Storage, error) { return Open(ctx, url+","+node.addr) },
		"empty prefix":              func() (*Storage, error) { return Open(ctx, url, WithPrefix("")) },
		"braces":                    func() (*Storage, error) { return Open(ctx, url, WithPrefix("a{b}")) },
		"TLS without TLS": func() (*Storage, error) {
			return Open(ctx, url, WithTLS(&tls.Config{MinVersion: tls.VersionTLS12}))
		},
		"nil TLS":    func() (*Storage, error) { return Open(ctx, "rediss://host", WithTLS(nil)) },
		"nil option": func() (*Storage, error) { return Open(ctx, "redis://host", nil) },
		"no URL":     func() (*Storage, error) { return Open(ctx, "") },
	} {
		_, err := open()
		require.Error(t, err, what)
		require.NotErrorIs(t, err, rendezvous.ErrUnreachable, what)
		require.NotContains(t, err.Error(), "cret", what)
	}
}

func TestOpenTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	tlsAddr := freeAddr(t)
	_, port, _ := net.SplitHostPort(tlsAddr)
	startServer(t, "redis-server", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	url := "rediss://" + tlsAddr

	_, err := Open(t.Context(), url)
	require.Error(t, err, "an unknown authority")
	s := open(t, url, WithTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	add(t, s, testRecord("ns", 1, time.Minute))
	require.Len(t, sample(t, open(t, url+"?skip_verify=true"), "ns"), 1)
}

// certificate makes a certificate for loopback that is its own authority.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)

	certFile, keyFile = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}), 0o600))
	parsed, err := x509.ParseCertificate(cert)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return certFile, keyFile, roots
}

// TestCluster: shards are where they should be, whatever peers choose, and one
// registry is opened by any of the members.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	s := open(t, c[4].url()) // a replica
	require.Len(t, s.shards, len(tags))
	for i, sh := range s.shards {
		for _, name := range []string{sh.index(), sh.names(), sh.array("{x}}{"), sh.ledger("}{a}")} {
			slot, err := strconv.Atoi(c[0].cli(t, "cluster", "keyslot", name))
			require.NoError(t, err)
			require.Equal(t, (2*i+1)*16384/(2*len(tags)), slot, name)
		}
	}
	const peers = 3000
	for i := range peers {
		add(t, s, testRecord("ns", i, time.Minute))
	}
	for _, master := range c[:3] {
		held := 0
		for _, sh := range s.shards {
			held += hlen(master, sh.array("ns"))
		}
		require.InDelta(t, peers/3, held, peers/10, "each master has a third")
	}
	require.Len(t, sample(t, open(t, c.url()), "ns"), peers)

	_, err := Open(t.Context(), c[0].url()+"/1")
	require.Error(t, err, "a cluster has one database")
}

// hlen is the length of a hash, 0 when it is another node's.
func hlen(s *server, key string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(s.say("HLEN "+key), ":"))
	return n
}

// TestClusterTotal: the points of a cluster keep to the total, but for what they add
// within a moment.
func TestClusterTotal(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "redis-server")
	points := []*Storage{open(t, c.url()), open(t, c.url())}
	q := rendezvous.Quota{Total: 100}
	added := 0
	for i := range 200 {
		err := points[i%2].Add(t.Context(), testRecord("ns", i, time.Minute), q)
		if err == nil {
			added++
		} else {
			require.ErrorIs(t, err, rendezvous.ErrFull)
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.GreaterOrEqual(t, added, 100)
	require.Less(t, added, 160, "at most what the other added in refreshInterval, and is not known yet")
	time.Sleep(2 * refreshInterval)
	for _, s := range points {
		require.ErrorIs(t, s.Add(t.Context(), testRecord("ns", 1000, time.Minute), q), rendezvous.ErrFull)
	}
}

func TestPolicy(t *testing.T) {
	require.Equal(t, "noeviction", policy("# Memory\r\nused_memory:1\r\nmaxmemory_policy:noeviction\r\n"))
	require.Equal(t, "allkeys-lru", policy("maxmemory_policy:allkeys-lru"))
	require.Empty(t, policy("# Memory\r\n"))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server")
	s := open(t, node.url())
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(s))
	value := func(name string) float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range families {
			if family.GetName() == "libp2p_rendezvous_redis_"+name {
				return family.GetMetric()[0].GetGauge().GetValue() + family.GetMetric()[0].GetCounter().GetValue()
			}
		}
		t.Fatalf("no metric %s", name)
		return 0
	}
	require.InDelta(t, 1, value("shards"), 0)
	for i := range 5 {
		add(t, s, testRecord(fmt.Sprint("ns", i), i, time.Second))
	}
	require.Eventually(t, func() bool { return value("purged_total") == 5 }, 5*time.Second, 10*time.Millisecond)
	require.Zero(t, value("shards_down"))
	node.signal(t, syscall.SIGKILL)
	require.Eventually(t, func() bool { return value("shards_down") == 1 && value("shard_failures_total") > 0 },
		5*time.Second, 10*time.Millisecond)
}
