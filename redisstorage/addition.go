package redisstorage

// What a script is told to add, and what it has done.

import (
	"crypto/sha1" //nolint:gosec // the scripts can compute no other hash
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const noLimit = -1

// errBehind means that the outcome depends on expired registrations that are not purged yet.
var errBehind = errors.New("expired registrations have to be purged")

// addition is a registration to add to a shard, and the limits there.
type addition struct {
	rendezvous.Record
	origin      origin // "" if it does not count
	counting    counting
	deadline    int64 // by the server's clock, in milliseconds; 0 to compute it from the Record
	refreshOnly bool
	limits      limits
}

// limits are how much a shard may hold. A negative limit is none.
type limits struct {
	perPeer, perOrigin, total, bytes, lastingTotal, lastingBytes int64
	average                                                      int64 // bytes up to which a refresh may always grow
}

// String returns the limits as the script takes them.
func (l limits) String() string {
	return fmt.Sprint(l.perPeer, l.perOrigin, l.total, l.bytes, l.lastingTotal, l.lastingBytes, l.average)
}

// lasting reports whether the registration lives longer than it is fresh.
func (a *addition) lasting() bool { return !a.Fresh.IsZero() && a.Fresh.Before(a.Deadline) }

// counting says where the origin of an addition is counted, in the words of the script.
type counting string

const (
	countHere      counting = "here"      // by the shard
	countElsewhere counting = "elsewhere" // by another shard, afterwards; a refresh keeps its origin
	countReserved  counting = "reserved"  // by another shard, before
)

// added is what an addition has done.
type added struct {
	refreshed bool
	deadline  int64  // of the server's clock, in milliseconds
	before    origin // by which it was counted, if it was refreshed
}

// counted is a registration, by its ID, that is counted by an origin.
type counted struct {
	id     string
	origin origin
}

// origin is what the scripts count registrations by: an IPv4 address, or the first eight
// bytes of an IPv6 address. The zero value is not counted.
type origin string

func originOf(addr netip.Addr) origin {
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		return origin(addr.AsSlice())
	case addr.Is6():
		return origin(addr.AsSlice()[:8])
	default:
		return ""
	}
}

// shard returns the number of the shard that counts an origin. An IPv6 /48 is in one
// shard, so that one script can check the /64, the /56 and the /48.
func (o origin) shard(shards int) int { return shardOfName(string(o[:min(len(o), 6)]), shards) }

// registrationID returns the ID of a registration in the sets of origins. It is that of idOf in
// lua/lib.lua, and short, because it is stored for each prefix of an origin.
func registrationID(ns string, p peer.ID) string {
	member := append(binary.BigEndian.AppendUint16(nil, uint16(len(ns))), ns...)
	sum := sha1.Sum(append(member, p...)) //nolint:gosec // an ID, which nothing trusts
	return hex.EncodeToString(sum[:12])
}

// outcomeError returns the error that the outcome of a script means.
func outcomeError(outcome string) error {
	switch outcome {
	case "added", "refreshed", "absent", "counted":
		return nil
	case "peer":
		return rendezvous.ErrPeerLimit
	case "origin":
		return rendezvous.ErrOriginLimit
	case "full":
		return rendezvous.ErrFull
	case "behind":
		return errBehind
	default:
		return errUnexpected
	}
}
