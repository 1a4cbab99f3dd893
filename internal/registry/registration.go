package registry

// What the registry holds. These types point to each other, so all of them are declared here.
// The methods of a registrant are in registrant.go, those of pools and slots in pool.go, and those
// of places and tracks in order.go.

import (
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/tidwall/btree"
)

// registration is a peer in a namespace. Outside of the package it is only passed from
// [Registry.Admit] to [Registry.Put], in an [Admission].
//
// A million of them are most of a full point's memory, so each word counts. The envelope
// is in the slots of the pools, where a sample finds it without reading the registration.
type registration struct {
	namespace  *namespace
	registrant *registrant
	deadline   int64
	positions  [poolKinds]int32 // in its pools; valid if pool.holds says so
	prev, next *registration    // in a bucket of the wheel
	origin     Origin           // where it counts
	place      *Place           // in the order, if there is one
}

// namespace exists while it has members.
type namespace struct {
	name    string
	pool    pool
	members int // registrations, including those that the pool has dropped
}

func newNamespace(name string) *namespace {
	return &namespace{name: strings.Clone(name), pool: pool{kind: ofNamespace}}
}

// registrant is a peer that has registrations. A nil registrant has none.
type registrant struct {
	id peer.ID
	// envelope is what the peer registered last. Other registrations of the same
	// bytes share its memory.
	envelope string
	// first is the peer's first registration. Most peers have no other, and need no
	// further memory then. It is used only once, because slots point to it.
	first registration
	// more has all registrations but first, in the order of their namespaces' names. It
	// is nil if there are none. A slice would take two more words for each peer.
	more *[]*registration
}

// pool is a set of registrations in no particular order. A registration is in two pools
// and has its position in each, so that the pool can remove it by moving the last slot into its
// place.
//
// The deadline of a slot is when the registration is no longer fresh. A pool may drop a slot
// whose deadline has passed, as it finds them while it samples. It does not tell the
// registration, because that would be another cache miss. Until the registration is put
// again, renewed or evicted, its position is then out of date.
type pool struct {
	slots []Slot
	kind  poolKind
	size  int64 // of the envelopes, in bytes
}

// poolKind says which of a registration's positions is the one in this pool.
type poolKind int

const (
	ofNamespace poolKind = iota
	ofAll
	poolKinds
)

// Slot is a registration as it was when it was sampled. A slot stays valid, and may be read by
// any goroutine, whatever becomes of the registration. The zero Slot is no registration:
// only Deadline may be called on it.
//
// It has what an answer says of a registration, so that drawing reads one cache
// line for each and follows no pointer but the envelope's.
type Slot struct {
	deadline     int64
	envelope     string
	registration *registration
}

// Place is the place of a registration in the order. It has all that a page says of the
// registration, so that a page reads one cache line for each. A registration that is put again
// has another place: new ones lie in memory in the order in which a page reads them. So
// a place never changes, and may be read by any goroutine, whatever becomes of the
// registration.
type Place struct {
	peer     peer.ID
	envelope string
	deadline int64
	sequence uint64
	track    *track
	put      uint32 // when it was added or replaced, in ticks of the wheel
	lasting  bool
}

// track is the order of the registrations of a namespace and a kind, or of a kind in all
// namespaces, by their sequences.
type track struct {
	key    trackKey
	places btree.Map[uint64, *Place]
}

// trackKey identifies a track. The namespace is nil for all.
type trackKey struct {
	namespace *namespace
	kind      Kind
}
