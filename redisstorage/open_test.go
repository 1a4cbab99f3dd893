package redisstorage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestOpenWaits checks that a point may start before its server does.
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
	pause(t, 300*time.Millisecond)
	node.start(t)
	require.NoError(t, <-opened)
}

// TestOpenOptions checks the settings in the URL and the options, and that wrong ones are
// errors at once.
func TestOpenOptions(t *testing.T) {
	t.Parallel()
	node := startServer(t, "redis-server", "--requirepass", "se@cret")
	url := "redis://:se%40cret@" + node.addr

	s := open(t, url+"/2", WithPrefix("mine"))
	mustAdd(t, s, testRecord("ns", 1, time.Minute))
	others := node.cli(t, "-a", "se@cret", "-n", "2", "--no-auth-warning",
		"eval", "return #redis.call('KEYS', '*') - #redis.call('KEYS', 'mine:{18e}:*')", "0")
	require.Equal(t, "0", others)
	require.Empty(t, mustSample(t, open(t, url+"/2"), "ns"), "another prefix")
	require.Empty(t, mustSample(t, open(t, url, WithPrefix("mine")), "ns"), "another database")
	require.Len(t, mustSample(t, open(t, url+"/2", WithPrefix("mine")), "ns"), 1)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for what, open := range map[string]func() (*Storage, error){
		"wrong password":                   func() (*Storage, error) { return Open(ctx, "redis://:wrong@"+node.addr) },
		"no password":                      func() (*Storage, error) { return Open(ctx, node.url()) },
		"no such database":                 func() (*Storage, error) { return Open(ctx, url+"/99") },
		"two nodes that are not a cluster": func() (*Storage, error) { return Open(ctx, url+","+node.addr) },
		"empty prefix":                     func() (*Storage, error) { return Open(ctx, url, WithPrefix("")) },
		"braces in the prefix":             func() (*Storage, error) { return Open(ctx, url, WithPrefix("a{b}")) },
		"TLS configuration without rediss": func() (*Storage, error) {
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
	require.Error(t, err, "the certificate is not trusted")
	s := open(t, url, WithTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	mustAdd(t, s, testRecord("ns", 1, time.Minute))
	require.Len(t, mustSample(t, open(t, url+"?skip_verify=true"), "ns"), 1)
}

// certificate makes a self-signed certificate for loopback.
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
