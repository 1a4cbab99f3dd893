package limit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/stretchr/testify/require"
)

// keys returns a key of each kind, and its price.
func keys(t testing.TB) map[string]crypto.PrivKey {
	t.Helper()
	keys := make(map[string]crypto.PrivKey)
	add := func(name string, k crypto.PrivKey, err error) {
		require.NoError(t, err)
		keys[name] = k
	}
	k, _, err := crypto.GenerateEd25519Key(rand.Reader)
	add("Ed25519", k, err)
	k, _, err = crypto.GenerateSecp256k1Key(rand.Reader)
	add("secp256k1", k, err)
	for name, bits := range map[string]int{"RSA-2048": 2048, "RSA-4096": 4096} {
		k, _, err = crypto.GenerateRSAKeyPair(bits, rand.Reader)
		add(name, k, err)
	}
	for name, curve := range map[string]elliptic.Curve{"P-224": elliptic.P224(), "P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		k, _, err := crypto.ECDSAKeyPairFromKey(private)
		add(name, k, err)
	}
	return keys
}

func TestRecordCheck(t *testing.T) {
	got := make(map[string]float64)
	for name, k := range keys(t) {
		got[name] = RecordCheck(k.GetPublic(), 300)
		require.InDelta(t, got[name]+7.5, RecordCheck(k.GetPublic(), 8<<10), 0)
	}
	require.Equal(t, map[string]float64{
		"Ed25519": 1, "secp256k1": 3, "P-224": 8, "P-256": 2, "P-384": 14, "P-521": 50, "RSA-2048": 1, "RSA-4096": 10,
	}, got)
	require.InDelta(t, checkRSALonger, checkRSA(8192), 0)
}

// BenchmarkSignatureCheck measures what the prices are made of.
func BenchmarkSignatureCheck(b *testing.B) {
	data := make([]byte, 300)
	for name, k := range keys(b) {
		signature, err := k.Sign(data)
		require.NoError(b, err)
		public := k.GetPublic()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if ok, err := public.Verify(data, signature); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
