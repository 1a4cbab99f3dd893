package wire

import (
	"bytes"
	"cmp"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// growsStack reports whether f grows the stack of a new goroutine, after that has made
// calls of some depth. A stack that grows is copied, and what is on it gets another
// address.
func growsStack(depth int, f func()) bool {
	grown := make(chan bool)
	go func() {
		_ = recurse(depth)
		var here byte
		before := uintptr(unsafe.Pointer(&here))
		f()
		grown <- uintptr(unsafe.Pointer(&here)) != before
	}()
	return <-grown
}

//go:noinline
func recurse(depth int) int {
	if depth == 0 {
		return 0
	}
	return 1 + recurse(depth-1)
}

// keepStacks turns garbage collection off for a test, because that shrinks stacks.
func keepStacks(t *testing.T) {
	t.Helper()
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
}

// TestDeepGroups: a message of nothing but tags of nested groups costs no stack, in
// whatever part of a message the groups are.
func TestDeepGroups(t *testing.T) {
	keepStacks(t)
	const size, depth = 16 << 10, 1 << 10
	require.True(t, growsStack(depth, func() { _ = recurse(size) }), "a frame of the stack for each byte")
	for _, d := range dialects {
		t.Run(string(d.ID), func(t *testing.T) {
			for field := range number(15) {
				groups := bytes.Repeat(protowire.AppendTag(nil, 1+protowire.Number(field), protowire.StartGroupType), size)
				registration := appendBytes(nil, d.discoverAnswer.registrations, groups)
				for name, message := range map[string][]byte{
					"in the message":              groups,
					"in its register":             appendBytes(nil, d.parts[Register].field, groups),
					"in its discover":             appendBytes(nil, d.parts[Discover].field, groups),
					"in its registerResponse":     appendBytes(nil, d.parts[RegisterResponse].field, groups),
					"in one of its registrations": appendBytes(nil, d.parts[DiscoverResponse].field, registration),
				} {
					var r Request
					var a Answer
					var asRequest, asAnswer error
					require.False(t, growsStack(depth, func() {
						asRequest = d.ParseRequest(&r, message)
						asAnswer = d.ParseAnswer(&a, message, 1)
					}), name)
					for _, err := range []error{cmp.Or(asRequest, asAnswer), cmp.Or(asAnswer, asRequest)} {
						require.ErrorIs(t, err, errGroup, name)
					}
				}
			}
		})
	}
}

// TestStackOfRequest: parsing a request does not grow the stack of a new goroutine, or
// under the race detector, which needs more stack, less than the generated code does.
func TestStackOfRequest(t *testing.T) {
	keepStacks(t)
	message, want := registerMessage(t)
	var r Request
	byHand := depthFor(func() { _ = Waku.ParseRequest(&r, message) })
	require.Equal(t, want, r)
	var m pb.Message
	generated := depthFor(func() { _ = proto.Unmarshal(message, &m) })
	require.True(t, byHand == 0 || byHand < generated, "%d, and the generated code %d", byHand, generated)
}

// depthFor returns the depth of calls after which f does not grow a new goroutine's stack.
func depthFor(f func()) int {
	depth := 0
	for growsStack(depth, f) {
		depth += 4
	}
	return depth
}

func registerMessage(t testing.TB) ([]byte, Request) {
	t.Helper()
	r := Request{Kind: Register, Register: Registration{
		Namespace: []byte("/waku/2/default-waku/proto"), Envelope: make([]byte, 224), TTL: 20,
	}}
	message := cutFrame(t, Waku.AppendRequest(nil, &r))
	return message, r
}
