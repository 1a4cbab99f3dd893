package redisstorage

// What a script is told to add, and what it has done.

import (
	"net/netip"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const noLimit = -1

// addition is a registration to add to a shard, and the limits there. A negative limit is
// none.
type addition struct {
	rendezvous.Record
	origin      origin // "" if it does not count
	counting    counting
	deadline    int64 // by the server's clock, in milliseconds; 0 to compute it from the Record
	refreshOnly bool

	perPeer, perOrigin, total, bytes int64
}

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
	deadline  int64   // of the server's clock, in milliseconds
	before    counted // where it was counted, if it was refreshed
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

// counted is a registration in the tallies of an origin, until a deadline of the server's
// clock, in milliseconds. The zero value is none.
type counted struct {
	origin   origin
	deadline int64
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
	default:
		return errUnexpected
	}
}
