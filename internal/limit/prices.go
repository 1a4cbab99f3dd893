package limit

import (
	"crypto/ecdsa"
	"crypto/rsa"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// Prices, in tokens of a budget of requests.
const (
	// Request is the price of any request.
	Request = 1.0
	// Refresh is the price of registering the same bytes again when that is due.
	Refresh = 0.25
	// Shortening is the price of registering the same bytes again for a shorter time than
	// is left. Afterwards, up to eight refreshes with growing TTLs are soon due, which are
	// not charged to the address. This price includes them.
	Shortening = Request + 8*Refresh
)

// Prices of the check of a signature, in tokens: its time relative to Ed25519, rounded
// up. BenchmarkSignatureCheck measures them on amd64, except for RSA over 4096 bits,
// which is estimated as four times RSA-4096.
const (
	checkEd25519   = 1.0
	checkP256      = 2.0
	checkSecp256k1 = 3.0
	checkP224      = 8.0
	checkP384      = 14.0
	checkP521      = 50.0
	checkRSA2048   = 1.0
	checkRSA4096   = 10.0
	checkRSALonger = 40.0 // 8192 bits, which is libp2p's longest
)

// What a record costs to parse, which takes as long as the check of its signature if it has
// hundreds of addresses: a token for each KiB beyond what a usual record has.
const (
	usualRecord = 512 // bytes
	parsedKiB   = 1.0
)

// RecordCheck returns the price of checking a signed record of some bytes with its key, and of
// parsing it.
func RecordCheck(key crypto.PubKey, size int) float64 {
	return signatureCheck(key) + parsedKiB*float64(max(size-usualRecord, 0))/1024
}

// signatureCheck returns the price of checking a signature with a key. That of an unknown
// kind of key is the highest.
func signatureCheck(key crypto.PubKey) float64 {
	switch key.Type() {
	case crypto.Ed25519:
		return checkEd25519
	case crypto.Secp256k1:
		return checkSecp256k1
	}
	standard, err := crypto.PubKeyToStdKey(key)
	if err != nil {
		return checkP521
	}
	switch key := standard.(type) {
	case *rsa.PublicKey:
		return checkRSA(key.N.BitLen())
	case *ecdsa.PublicKey:
		return checkECDSA(key.Curve.Params().BitSize)
	default:
		return checkP521
	}
}

func checkRSA(bits int) float64 {
	switch {
	case bits <= 2048:
		return checkRSA2048
	case bits <= 4096:
		return checkRSA4096
	default:
		return checkRSALonger
	}
}

func checkECDSA(bits int) float64 {
	switch bits {
	case 224:
		return checkP224
	case 256:
		return checkP256
	case 384:
		return checkP384
	default:
		return checkP521
	}
}
