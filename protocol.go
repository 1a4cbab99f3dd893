package rendezvous

// The protocol: its IDs, its limits and its rules, for both sides. docs/protocol.md
// specifies them; internal/wire reads and writes the messages.

import (
	"fmt"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// RendezvousID_v001 is the protocol ID.
const RendezvousID_v001 protocol.ID = "/vac/waku/rendezvous/0.0.1"

// StandardID is the protocol ID of libp2p's own rendezvous protocol, which a point can serve
// as well. See [WithStandardProtocol].
const StandardID protocol.ID = "/rendezvous/1.0.0"

// dialectOf returns how messages of a protocol are read and written. Every protocol but
// RendezvousID_v001 is taken for the standard one, which some programs speak under an ID of
// their own.
func dialectOf(id protocol.ID) *wire.Dialect {
	if id == RendezvousID_v001 {
		return wire.Waku
	}
	return wire.Standard
}

// lasts reports whether registrations of a protocol may live for hours after their peer is
// gone.
func lasts(id protocol.ID) bool { return id != "" && dialectOf(id) == wire.Standard }

// ServiceName is the name under which the host's resource manager accounts for the
// streams of the protocols.
const ServiceName = "vac.waku.rendezvous"

// Limits of the wire.
const (
	// MaxNamespaceSize is the longest namespace, in bytes.
	MaxNamespaceSize = 256
	// MaxAddrsSize is how many bytes the addresses of one record may take together, as
	// binary multiaddrs.
	MaxAddrsSize = peerrecord.MaxAddrsSize
	// DefaultTTL is how long a registration lives if its peer does not ask for a TTL,
	// unless [WithTTL] sets another.
	DefaultTTL = 20 * time.Second
	// MaxTTL is the longest TTL, unless [WithTTL] sets another. Clients believe no
	// longer TTL of other peers' registrations.
	MaxTTL = 20 * time.Second
	// MaxDiscoverLimit is the most registrations in one answer.
	MaxDiscoverLimit = 1000
)

// TTLs of the standard protocol, unless [WithStandardProtocol] sets others.
const (
	// DefaultStandardTTL is how long a registration lives if its peer does not ask for a
	// TTL.
	DefaultStandardTTL = 2 * time.Hour
	// MaxStandardTTL is the longest TTL.
	MaxStandardTTL = 72 * time.Hour
)

const (
	// grace is how long a registration lives beyond its TTL, so that a refresh that
	// was sent in time and delayed by the network still refreshes it.
	grace = 500 * time.Millisecond

	// A stream's first request must arrive within firstRequestTimeout. After an answer,
	// idleTimeout applies: a peer may keep one stream for its refreshes.
	firstRequestTimeout = 10 * time.Second
	idleTimeout         = 30 * time.Second
)

// maxStreamsPerPeer is how many streams of one peer a point serves at a time: one for
// each request of the default burst.
const maxStreamsPerPeer = 100

// The memory that a stream reserves with the resource manager. Reserving costs more
// than answering a REGISTER, so nothing is reserved for small requests and answers.
// They take less than the muxer's window for the stream, for which nothing is
// reserved either. The limits on streams bound both.
const (
	smallRequest = 4 << 10  // bytes
	smallSample  = 64       // registrations
	smallAnswer  = 16 << 10 // bytes
	largeAnswer  = 64 << 10

	// requestMemory is reserved from a stream's first request that is not small until
	// the stream ends.
	requestMemory = 16 << 10
	// discoverMemory is reserved while a DISCOVER for more than a small sample is
	// answered: the buffer through which an answer of any size is written, and the
	// sample, without the envelopes. The envelopes of a storage that copies them are
	// reserved as well.
	discoverMemory = largeAnswer + MaxDiscoverLimit*int(unsafe.Sizeof(wire.Found{}))
)

// checkNamespace checks a namespace that must not be empty and has at most the
// given bytes.
func checkNamespace(ns string, most int) error {
	if ns == "" {
		return refuse(pb.Message_E_INVALID_NAMESPACE, "namespace is missing")
	}
	return checkNamespaceSize(ns, most)
}

// checkNamespaceSize checks a namespace that may be empty, as in a DISCOVER across all
// namespaces.
func checkNamespaceSize(ns string, most int) error {
	if len(ns) > most {
		return refuse(pb.Message_E_INVALID_NAMESPACE, fmt.Sprintf("namespace is over %d bytes", most))
	}
	if !utf8.ValidString(ns) {
		return refuse(pb.Message_E_INVALID_NAMESPACE, "namespace is not UTF-8")
	}
	return nil
}

// grantTTL returns the TTL to grant to a request for the given seconds: def if there
// are none. A negative TTL is an error, and so is one over most.
func grantTTL(seconds int64, def, most time.Duration) (time.Duration, error) {
	switch {
	case seconds == 0:
		return def, nil
	case seconds < 0:
		return 0, refuse(pb.Message_E_INVALID_TTL, "ttl is negative")
	case seconds > int64(most/time.Second):
		return 0, refuse(pb.Message_E_INVALID_TTL, fmt.Sprintf("ttl is over %d seconds", most/time.Second))
	}
	return time.Duration(seconds) * time.Second, nil
}

// grantLimit returns the largest number of registrations to answer a DISCOVER with:
// its limit, or most if that is out of range.
func grantLimit(limit int64, most int) int {
	if limit <= 0 || limit > int64(most) {
		return most
	}
	return int(limit)
}

// wireSeconds converts d to whole seconds, rounded up.
func wireSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// remainingSeconds returns the TTL of a registration in an answer. left is the time to
// its deadline, which includes the grace. The result is at least 1, because the
// registration is still live.
func remainingSeconds(left time.Duration) int32 {
	return int32(max(1, wireSeconds(left-grace)))
}

// lifetimes has the TTL to ask for in each protocol. 0 leaves it to the point.
type lifetimes struct{ waku, standard time.Duration }

func (l lifetimes) in(d *wire.Dialect) time.Duration {
	if d == wire.Standard {
		return l.standard
	}
	return l.waku
}

// grantedTTL returns the TTL to believe when a point says that it granted a number of
// seconds: no more than the client asked for.
func grantedTTL(d *wire.Dialect, asked, granted int64) time.Duration {
	switch {
	case asked > 0:
		return clampTTL(granted, time.Duration(asked)*time.Second)
	case d == wire.Standard:
		return lastingTTL(granted)
	default:
		return clampTTL(granted, DefaultTTL)
	}
}

// statedTTL returns the TTL to believe when a point says that a registration of another peer
// lives for the given seconds.
func statedTTL(d *wire.Dialect, seconds int64) time.Duration {
	if d == wire.Standard {
		return lastingTTL(seconds)
	}
	return clampTTL(seconds, MaxTTL)
}

// lastingTTL returns the TTL to believe when a point of the standard protocol states the
// given seconds, or none.
func lastingTTL(seconds int64) time.Duration {
	if seconds <= 0 {
		return DefaultStandardTTL
	}
	return clampTTL(seconds, MaxStandardTTL)
}

// clampTTL returns the TTL to believe when a point states the given seconds: most
// if they are out of range.
func clampTTL(seconds int64, most time.Duration) time.Duration {
	if seconds <= 0 || seconds > int64(most/time.Second) {
		return most
	}
	return time.Duration(seconds) * time.Second
}
