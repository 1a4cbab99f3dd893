package points

import (
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Config says which points there are and how to speak to them.
type Config struct {
	Host host.Host
	// Protocols are the protocols to speak, the preferred one first. At least one.
	Protocols []protocol.ID
	// Service is the name of the service that the host's resource manager attaches
	// streams to.
	Service string
	// Named are the points to use, unless AnySpeaker is set. With none, there are no
	// points. See [Set.SetNamed].
	Named []peer.AddrInfo
	// AnySpeaker makes a point of every peer that the host knows to speak one of the
	// protocols. Named is not used then.
	AnySpeaker bool
	// Judge says what the error of a request, which is not nil, means for the point.
	// It gets errors of the stream and those of [Request].Read. It may be called from
	// many goroutines at the same time.
	Judge func(error) Verdict
	// Lasting is whether some points may keep registrations for hours. Listeners are then
	// woken when the connection to a point is lost, to check whether it still has them.
	Lasting bool
	// WallClock is the clock that a machine's sleep is noticed by. It must have no
	// monotonic reading. Nil is the clock of the machine.
	WallClock func() time.Time
	// Interfaces returns the addresses of the machine's network interfaces. Nil is
	// [ifaddrs.Get].
	Interfaces func() ([]net.Addr, error)
}

// Verdict is what the outcome of a request means for the point.
type Verdict uint8

const (
	// Failed means that the point did not answer, or answered something useless. It
	// is left alone for a while.
	Failed Verdict = iota
	// TooMuch means that the point works and wants fewer requests. The client sends
	// fewer for a while.
	TooMuch
	// Answered means that the point works, even if it refused this request.
	Answered
)
