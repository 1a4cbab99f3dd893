package main

// What attackers send.

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// fixed returns the same request each time.
func fixed(frame []byte) func(*attacker) []byte {
	return func(*attacker) []byte { return frame }
}

// frame returns a message with its length.
func frame(body []byte) []byte {
	return append(protowire.AppendVarint(nil, uint64(len(body))), body...)
}

const maxFrame = 16 << 10

func randomFrame(*attacker) []byte {
	body := make([]byte, maxFrame)
	_, _ = rand.Read(body) // never fails
	return frame(body)
}

// groups returns n bytes of nested groups, which are closed or not.
func groups(n int, closed bool) []byte {
	start := protowire.AppendTag(nil, 15, protowire.StartGroupType)
	if !closed {
		return bytes.Repeat(start, n)
	}
	return append(bytes.Repeat(start, n/2), bytes.Repeat(protowire.AppendTag(nil, 15, protowire.EndGroupType), n/2)...)
}

func groupFrame(closed bool) []byte { return frame(groups(maxFrame, closed)) }

// repeatedBody returns a REGISTER whose body comes many times, so that a parser merges them.
func repeatedBody() []byte {
	one := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte{0x0a, 0})
	return frame(bytes.Repeat(one, 4000))
}

func answerFrame() []byte {
	d := &pb.Message_DiscoverResponse{Registrations: slices.Repeat([]*pb.Message_Register{{Ns: "n", SignedPeerRecord: make([]byte, 100)}}, 100)}
	return encodeFrame(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: d})
}

// newRecord returns registrations with another record each time, so that the point has to
// verify a signature. Each attacker signs a few beforehand.
func newRecord(ns string) func(*attacker) []byte {
	const several = 4
	var mu sync.Mutex
	records := make(map[*attacker][][]byte)
	return func(a *attacker) []byte {
		mu.Lock()
		defer mu.Unlock()
		if len(records[a]) < several {
			envelope, _ := sealRecord(a.key, uint64(len(records[a])), a.addr)
			records[a] = append(records[a], envelope)
		}
		return registerRequest(ns, records[a][a.sent.Load()%uint64(len(records[a]))], 0)
	}
}

func usedOnce(a *attacker) []byte {
	return registerRequest(fmt.Sprint("once-", a.n, "-", a.sent.Load(), "-", rand.Text()), a.envelope, 0)
}

func maximalNamespace(a *attacker) []byte {
	name := fmt.Sprint(a.n, "-", a.sent.Load(), "-")
	return registerRequest(name+strings.Repeat("n", 256-len(name)), a.envelope, 0)
}

func longNamespace(a *attacker) []byte {
	return registerRequest(strings.Repeat("n", 15<<10), a.envelope, 0)
}

func refresh(a *attacker) []byte { return registerRequest("storm", a.envelope, 0) }

func changingTTL(a *attacker) []byte {
	return registerRequest("changing", a.envelope, time.Duration(1+a.sent.Load()%2)*time.Second)
}

func invalidTTL(a *attacker) []byte {
	ttls := []int64{-1, 21, math.MaxInt64, math.MinInt64}
	return encodeFrame(&pb.Message{Register: &pb.Message_Register{Ns: "n", SignedPeerRecord: a.envelope, Ttl: ttls[a.sent.Load()%4]}})
}

func shortLived(a *attacker) []byte {
	return registerRequest(fmt.Sprint("short-", a.sent.Load()), a.envelope, time.Second)
}

// maximalAddrs fills the 2048 bytes that the addresses of a record may have.
var maximalAddrs = func() (addrs []ma.Multiaddr) {
	for i := range 2048 / 8 {
		addrs = append(addrs, publicAddr(i))
	}
	return addrs
}()

func maximalRecord(a *attacker) []byte {
	envelope, _ := sealRecord(a.key, a.sent.Load(), maximalAddrs...)
	return registerRequest(fmt.Sprint("maximal-", a.sent.Load()%1000), envelope, 0)
}

func emptyRecord(a *attacker) []byte {
	envelope, _ := sealRecord(a.key, a.sent.Load())
	return registerRequest("empty", envelope, 0)
}

func paddedRecord(a *attacker) []byte {
	padded := protowire.AppendTag(slices.Clone(a.envelope), 99, protowire.BytesType)
	return registerRequest("padded", protowire.AppendBytes(padded, make([]byte, 7<<10)), 0)
}

func groupEnvelope(*attacker) []byte { return registerRequest("groups", groups(8<<10-16, true), 0) }

// rawRecord is a record of the usual type with any content.
type rawRecord []byte

func (rawRecord) Domain() string                   { return peer.PeerRecordEnvelopeDomain }
func (rawRecord) Codec() []byte                    { return peer.PeerRecordEnvelopePayloadType }
func (r rawRecord) MarshalRecord() ([]byte, error) { return r, nil }
func (rawRecord) UnmarshalRecord([]byte) error     { return nil }

func groupRecord(a *attacker) []byte {
	signed, err := record.Seal(rawRecord(groups(7<<10, true)), a.key)
	if err != nil {
		return nil
	}
	envelope, _ := signed.Marshal()
	return registerRequest("groups", envelope, 0)
}

func invalidSignature(a *attacker) []byte {
	envelope := slices.Clone(a.envelope)
	envelope[len(envelope)-1] ^= 1
	return registerRequest("invalid", envelope, 0)
}

func stolenRecord(a *attacker) []byte { return registerRequest(honestNamespace, a.stolen, 0) }

// stolenP521 registers a record of another peer whose signature is slow to verify.
var stolenP521 = func() func(*attacker) []byte {
	envelope := sync.OnceValue(func() []byte {
		key, err := newECDSA(elliptic.P521())()
		if err != nil {
			return nil
		}
		envelope, _ := sealRecord(key, 1, publicAddr(0))
		return envelope
	})
	return func(*attacker) []byte { return registerRequest(honestNamespace, envelope(), 0) }
}()

func newECDSA(curve elliptic.Curve) func() (crypto.PrivKey, error) {
	return func() (crypto.PrivKey, error) {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		private, _, err := crypto.ECDSAKeyPairFromKey(key)
		return private, err
	}
}

func newRSA() (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateRSAKeyPair(2048, rand.Reader)
	return key, err
}

func skewedSeq(a *attacker) []byte {
	seqs := []uint64{math.MaxUint64, 0, uint64(time.Now().Add(1e6 * time.Hour).UnixNano())}
	envelope, _ := sealRecord(a.key, seqs[a.sent.Load()%3], a.addr)
	return registerRequest("skewed", envelope, 0)
}
