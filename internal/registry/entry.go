package registry

import (
	"unsafe"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Kind is a kind of envelope. Samples contain the usual one only, and a page contains one.
type Kind uint8

// usual is the kind that is sampled.
const usual Kind = 0

// Entry is what is registered.
type Entry struct {
	Namespace string
	Peer      peer.ID
	Envelope  []byte
	Deadline  int64
	// Fresh is until when it may be sampled, at most the Deadline. 0 stands for the Deadline.
	Fresh int64
	// Kind is the kind of the envelope. Only kind 0 is sampled.
	Kind   Kind
	Origin Origin
	// Sequence is the place in the order that the registration had in an earlier
	// registry. It has the last place for 0, or if the place is not free.
	Sequence uint64
}

// fresh returns until when e may be sampled.
func (e *Entry) fresh() int64 {
	if e.Fresh == 0 {
		return e.Deadline
	}
	return min(e.Fresh, e.Deadline)
}

// lasting reports whether e is live for longer than it is fresh.
func (e *Entry) lasting() bool { return e.fresh() < e.Deadline }

// NeedsOrder reports whether a registry that holds e must keep the order. A registration that
// is live after it was last sampled is found only there.
func (e *Entry) NeedsOrder() bool { return e.Kind != usual || e.lasting() }

// size is what e counts against a quota of bytes.
func (e *Entry) size() int64 { return namesSize(e.Namespace, e.Peer) + int64(len(e.Envelope)) }

// namesSize is what the names of a registration count against a quota of bytes.
func namesSize[N, P ~string](namespace N, p P) int64 { return int64(len(namespace) + len(p)) }

// bytesOf returns the bytes of an envelope, to which nobody may write.
func bytesOf(envelope string) []byte {
	return unsafe.Slice(unsafe.StringData(envelope), len(envelope)) //nolint:gosec // a copy would be most of what a sample costs
}
