package registry

import (
	"encoding/binary"
	"net/netip"
)

// Origin is the network that a registration came from, as far as quotas tell networks
// apart: an IPv4 address or an IPv6 /64. The zero Origin has no limit.
//
// It is the first 64 bits of an IPv6 address, or else ipv4 and the IPv4 address. A
// registration has one, so it must be small.
type Origin uint64

// ipv4 marks an IPv4 address. IPv6 addresses that begin like this, or with 64 zeros, are
// reserved, and count as reserved.
const (
	ipv4     Origin = 1 << 32
	reserved Origin = 2 << 32
)

// OriginOf returns the origin of an address. The zero Addr has the zero Origin.
func OriginOf(a netip.Addr) Origin {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return 0
	case a.Is4():
		b := a.As4()
		return ipv4 | Origin(binary.BigEndian.Uint32(b[:]))
	default:
		b := a.As16()
		return max(Origin(binary.BigEndian.Uint64(b[:])), reserved)
	}
}

// Addr returns an address of the origin, the first one of a network. The zero Origin has
// the zero Addr.
func (o Origin) Addr() netip.Addr {
	var b [16]byte
	switch {
	case o == 0:
		return netip.Addr{}
	case o < reserved:
		binary.BigEndian.PutUint32(b[:], uint32(o))
		return netip.AddrFrom4([4]byte(b[:4]))
	default:
		binary.BigEndian.PutUint64(b[:], uint64(o))
		return netip.AddrFrom16(b)
	}
}

// Wider IPv6 networks may have more registrations than a /64, in proportion to the
// limit of one /64.
const (
	perNet56 = 4
	perNet48 = 16
)

func (o Origin) isIPv6() bool  { return o >= reserved }
func (o Origin) net56() Origin { return o &^ (1<<8 - 1) }
func (o Origin) net48() Origin { return o &^ (1<<16 - 1) }

// origins counts registrations by where they came from. The zero origins is empty.
type origins struct {
	narrow       table[Origin, int32] // of IPv4 addresses and IPv6 /64s
	net56, net48 table[Origin, int32] // of IPv6 networks
}

// hasRoom reports whether another registration from o is within a limit for each origin.
// from is where it counts now, and zero for a new one.
func (x *origins) hasRoom(from, o Origin, perOrigin int) bool {
	if o == 0 || o == from || perOrigin <= 0 {
		return true
	}
	if int(x.narrow.get(o)) >= perOrigin {
		return false
	}
	if !o.isIPv6() {
		return true
	}
	// The count is divided, because a multiple of the limit might overflow.
	wide := from.isIPv6()
	return (wide && from.net56() == o.net56() || int(x.net56.get(o.net56()))/perNet56 < perOrigin) &&
		(wide && from.net48() == o.net48() || int(x.net48.get(o.net48()))/perNet48 < perOrigin)
}

// add counts a registration from o.
func (x *origins) add(o Origin) { x.count(o, +1) }

// remove uncounts a registration from o.
func (x *origins) remove(o Origin) { x.count(o, -1) }

func (x *origins) count(o Origin, n int32) {
	if o == 0 {
		return
	}
	addTo(&x.narrow, o, n)
	if o.isIPv6() {
		addTo(&x.net56, o.net56(), n)
		addTo(&x.net48, o.net48(), n)
	}
}

// addTo adds n to a count, which is not in the table when it is zero.
func addTo(t *table[Origin, int32], o Origin, n int32) {
	switch old := t.get(o); {
	case old == 0:
		t.add(o, n)
	case old+n == 0:
		t.delete(o)
	default:
		t.update(o, old+n)
	}
}
