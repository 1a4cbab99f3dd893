package rendezvous

// The contract of a storage, in which a point keeps its registrations, and that of a
// database for NewStorage.

import (
	"context"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Record is one registration: a peer in a namespace, until a deadline.
type Record struct {
	Namespace string
	Peer      peer.ID
	// Envelope is the signed peer record, byte for byte as it was registered.
	Envelope []byte
	// Deadline is when the registration ends. It is live before its deadline, and gone
	// at its deadline.
	Deadline time.Time
	// Fresh is the time until which samples may contain the registration, at most its
	// Deadline. The zero Time stands for the Deadline. The Deadline of a record that was
	// sampled is the end of its freshness, and its Fresh may be zero.
	Fresh time.Time
	// Kind is the kind of the envelope. Samples contain registrations of the usual kind
	// only.
	Kind RecordKind
	// Origin is the IP address that the registration came from, for
	// [Quota].PerOrigin. The zero Addr has no limit. A point sets the address of the
	// relay for a relayed connection, and none for loopback. The records of a sample
	// need not have it.
	Origin netip.Addr
}

// RecordKind is a kind of signed peer record. Each libp2p implementation reads only one.
type RecordKind uint8

const (
	// KindPeerRecord is the usual kind, that of libp2p's specification.
	KindPeerRecord RecordKind = iota
	// KindRoutingState is the kind that rust-libp2p signs and reads: the same record in an
	// envelope of another domain and payload type.
	KindRoutingState
)

// Quota is how much a storage may hold. Zero means no limit. A quota counts live
// registrations. Replacing a live registration is refused only if it has grown or becomes a
// lasting one; see [Storage].Add.
//
// A registration that was added with a Fresh before its Deadline is a lasting one. Lasting
// registrations may take half of Total and half of Bytes. For that limit, a lasting
// registration that replaces one that is not lasting is a new one, and may be refused.
type Quota struct {
	// PerPeer limits the registrations of one peer, over all namespaces.
	PerPeer int
	// PerOrigin limits the registrations that came from one IPv4 address or one IPv6
	// /64. A /56 may have 4 times as many and a /48 16 times, because a customer of a
	// provider may have a whole one.
	PerOrigin int
	// Total limits the registrations of all peers.
	Total int
	// Bytes limits the size of all registrations: of the namespace, the peer ID and
	// the envelope of each.
	Bytes int64
}

// Counts says how much a storage holds, for gauges. Registrations that ended in the
// last few seconds may still be counted.
type Counts struct {
	Registrations int
	Namespaces    int
}

// Storage keeps at most one [Record] per namespace and peer, each until its
// Deadline. All methods may be called at the same time from many goroutines,
// honour their context, and return [ErrClosed] after Close. Namespaces and peer IDs
// are arbitrary bytes, and one may be a prefix of another. A namespace has at least
// one byte.
//
// A temporary error, such as a database that does not answer, wraps [ErrUnreachable].
// Peers are then told to try again.
//
// # Writing one
//
// Package storagetest tests this contract on any Storage: call its Run from a test,
// and write until it passes. These are the common mistakes:
//
//   - The clock decides whether a record is live, at the time of the call. Sample must
//     never return a record that has ended and is not removed yet, and a Quota must not
//     count it. An Add after the end is a new registration, not a refresh.
//   - A refresh that has neither grown nor become a lasting one is never refused, even
//     if the limits have been lowered.
//   - Decide limits in the same step as the Add: under a lock, in a transaction, in a
//     script.
//   - A sample is uniform over registrations. Seeking to a random key is not uniform:
//     peer IDs begin with the same bytes, and gaps between keys differ.
//   - Remove ended records even if no method is called.
//   - The records that Sample returns must outlive the transaction that read them.
//
// For a database that is ordered by key, write a [DB] for [NewStorage]: that is less
// work and faster. examples/customstorage is a complete Storage over another kind of
// database.
type Storage interface {
	// Add stores r until its deadline and replaces the record of the same namespace and
	// peer. A new registration counts against q, in one step with adding it: over q.PerPeer
	// it is refused with [ErrPeerLimit], over q.PerOrigin with [ErrOriginLimit], over
	// q.Total or q.Bytes with [ErrFull], and over several of them with the first of these. A
	// refresh is not refused, with two exceptions. A lasting one that replaces one that is
	// not lasting is refused with [ErrFull] if the half for lasting registrations is full;
	// see [Quota]. And if the namespace, peer ID and envelope of a refresh are together
	// larger than before, and larger than q.Bytes divided by q.Total, it needs room for the
	// growth, and is refused with [ErrFull] if there is none. One that comes from another
	// origin counts there if q.PerOrigin allows it, and otherwise where it counted before.
	//
	// When Add returns nil, r survives the process if anything in the storage does. When it
	// returns an error, nothing has changed, with one exception: if ctx ended while
	// the write was under way, r may be stored. A deadline in the past removes the
	// record. The storage copies r.Envelope, which belongs to the caller.
	Add(ctx context.Context, r Record, q Quota) error

	// Sample returns n live records of the namespace, or all if there are fewer, drawn
	// uniformly and without repeats. For the namespace "" it draws from all namespaces.
	// The order is random too, so the first few of a sample are a sample. For n below 1
	// it returns none. It stops before the namespaces and envelopes that it returns
	// exceed maxBytes: it leaves out the record that would make them exceed it, and does
	// not look for a smaller one. A maxBytes of 0 is no bound. The envelopes belong to
	// the storage: they do not change as long as anyone holds them, also after Close,
	// and must not be written to.
	Sample(ctx context.Context, namespace string, n, maxBytes int) ([]Record, error)

	// Counts returns how much the storage holds now.
	Counts(ctx context.Context) (Counts, error)

	// Close ends the storage's own goroutines and timers and waits for them. A second
	// Close does nothing and returns nil; a concurrent one waits as well. Close does
	// not close a [DB] that the storage was given: whoever opened it closes it.
	Close() error
}

// Pager is a [Storage] that can also list registrations in the order in which they were
// added or last replaced, which the standard protocol needs. See
// [WithStandardProtocol].
//
// The first Page may make the storage begin to keep that order, so that a point that does
// not serve the standard protocol does not pay for it. Registrations that were there before
// are in any order then. Start calls Page once for that.
type Pager interface {
	Storage

	// Page returns the first n live registrations of a namespace and a kind that come
	// after a cursor, in order, and the cursor at their end. For the namespace "" it pages
	// through all namespaces. The zero Cursor is before the first registration. A caller
	// that follows the cursors sees each registration once, and once more each time that
	// it is replaced; none that stays live is skipped. Page stops before the
	// namespaces and envelopes exceed maxBytes, as Sample does, but returns one
	// registration at least, if there is any. For n below 1 it returns none, and the
	// cursor that it was given or an equal one.
	//
	// A cursor that the storage did not make, or that it no longer understands, counts as
	// the zero Cursor. One of another namespace or kind may count as that. If registrations
	// survive when the storage is opened again, or if points share the storage, the same
	// holds for cursors.
	//
	// The envelopes belong to the storage as those of a sample do. The records have their
	// Deadline.
	Page(ctx context.Context, namespace string, kind RecordKind, after Cursor, n, maxBytes int) ([]Record, Cursor, error)

	// Remove ends the registration of a peer in a namespace, or all of the peer's in all
	// namespaces for "". Ending none is no error.
	Remove(ctx context.Context, namespace string, p peer.ID) error

	// Renew makes all live registrations of the peers fresh until the time fresh, but
	// not beyond their Deadline. It never shortens freshness. It does not change the
	// order. A storage need not remember it across a restart.
	Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error
}

// Cursor is a place in the order of a [Pager]'s registrations: at most [MaxCursorSize]
// bytes of printable ASCII, which only the storage understands.
type Cursor string

// MaxCursorSize is the size of the longest [Cursor], in bytes.
const MaxCursorSize = 255

// Iterator walks over keys in ascending byte order. It starts before the first key.
// Key and Value are valid until the next move and must not be written to. An Iterator
// is not safe for concurrent use.
//
// [NewStorage] calls Next, Key, Value and Release. Prev and Seek are part of the
// interface because existing adapters have them. If an Iterator has a method
// Error() error, NewStorage calls it at the end. An Iterator may return keys without
// the prefix: NewStorage skips them.
type Iterator interface {
	Release()
	Next() bool
	Prev() bool
	Key() []byte
	Value() []byte
	Seek(key []byte) bool
}

// DB is an ordered key-value database, such as [LevelDB]. [NewStorage], and then the storage
// that it returns, call Put and Delete one at a time, also while iterators are open. Put
// must not keep key or value, which belong to the caller, and must return only when the
// write survives the process. Deleting a key that does not exist is no error.
type DB interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	NewIterator(prefix []byte) Iterator
}
