package rendezvous

// What a point keeps its registrations in: the contract of a storage, and that of a
// database for NewStorage.

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Record is one registration: a peer in a namespace, until a deadline.
type Record struct {
	Namespace string
	Peer      peer.ID
	// Envelope is the signed peer record, byte for byte as it was registered.
	Envelope []byte
	// Deadline is when the registration ends: it is live before and gone at it.
	Deadline time.Time
}

// Quota is how much a storage may hold. Zero means no limit. A quota counts live
// registrations; replacing one that is live is never refused.
type Quota struct {
	PerPeer int // registrations of one peer, over all namespaces
	Total   int // registrations of all peers
}

// Counts is what a storage holds now, for gauges. Registrations that ended in the
// last few seconds may still be counted.
type Counts struct {
	Registrations int
	Namespaces    int
}

// Storage keeps at most one [Record] per namespace and peer, each until its
// Deadline. All methods may be called at the same time from many goroutines,
// honour their context, and return [ErrClosed] after Close. Namespaces and peer
// IDs are any bytes: one that is a prefix of another is still another. A
// namespace has at least one byte.
//
// An error that will pass, such as a database that does not answer, wraps
// [ErrUnreachable]; peers are then told to try again.
//
// # Writing one
//
// Package storagetest checks all that is said here on any Storage: call its Run from
// a test, and write until it passes. What has cost others most time:
//
//   - Live is a matter of the clock when a record is asked for, not of when something
//     last tidied up. Sample must never return, and a Quota never count, what has
//     ended and is not removed yet; a record that has ended is not refreshed but new.
//   - Limits are decided in the same step as the Add: a lock, a transaction, a script.
//   - Uniform means over registrations. Seeking to a random key is not: peer IDs begin
//     with the same bytes, and gaps between keys differ.
//   - Something must remove what has ended while nobody calls.
//   - What Sample returns outlives the transaction that it was read in.
//
// To keep registrations in a database that is ordered by key, a [DB] for [NewStorage]
// is less work and faster. A whole Storage of the other kind, in a file that fits on a
// few screens, is in examples/customstorage.
type Storage interface {
	// Add keeps r until its deadline, in place of what was kept for the same
	// namespace and peer. What a peer newly adds counts against q, in one step
	// with adding it: over q.PerPeer it is refused with [ErrPeerLimit], over
	// q.Total with [ErrFull]. When Add returns nil, r outlives the process if
	// anything kept here does; when it returns an error, what was there before
	// is there still. Only where ctx ends while r is on its way may r be kept all
	// the same. A deadline that has passed removes what was kept. The storage
	// copies what it keeps: r.Envelope is the caller's again when Add returns.
	Add(ctx context.Context, r Record, q Quota) error

	// Sample returns n live records of the namespace, or all where there are
	// fewer, drawn uniformly and without repeats; for the namespace "" it draws
	// from all namespaces. Their order is random, too, so that the first few of a
	// sample are a sample. For n below one it returns none. The envelopes belong to
	// the storage: they stay as they are for as long as anyone holds them, also
	// after Close, and must not be written to.
	Sample(ctx context.Context, namespace string, n int) ([]Record, error)

	// Counts returns what is held now.
	Counts(ctx context.Context) (Counts, error)

	// Close ends the storage's own goroutines and timers and returns when they
	// have ended. A second Close does nothing and returns nil; one at the same
	// time waits as well. It does not close a [DB] that the storage was given: who
	// opens closes.
	Close() error
}

// Iterator walks over keys in ascending byte order. It starts before the first;
// Key and Value are valid until the next move and must not be written to. One goroutine
// at a time uses it.
//
// [NewStorage] calls Next, Key, Value and Release; Prev and Seek are what adapters have
// had from the start. An Iterator with a method Error() error is asked at its end why it
// ended. One may give keys without the prefix: they are passed over.
type Iterator interface {
	Release()
	Next() bool
	Prev() bool
	Key() []byte
	Value() []byte
	Seek(key []byte) bool
}

// DB is an ordered key-value database, such as [LevelDB]. Put and Delete may be
// called while iterators are open, one call at a time. Put keeps neither key nor value,
// which are the caller's, and returns when what it wrote survives the process. To delete
// a key that is not there is no error.
type DB interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	NewIterator(prefix []byte) Iterator
}
