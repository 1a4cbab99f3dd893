package points

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
)

// conns are the connections of a host to a peer.
type conns struct {
	host host.Host
	peer peer.ID
}

func (c conns) all() []network.Conn { return c.host.Network().ConnsToPeer(c.peer) }

// exist reports whether there is a connection, over a relay or not.
func (c conns) exist() bool {
	return c.host.Network().Connectedness(c.peer) != network.NotConnected
}

// direct reports whether there is a connection that no relay limits.
func (c conns) direct() bool {
	return c.host.Network().Connectedness(c.peer) == network.Connected
}

// openedSince reports whether there is a connection that was opened after t.
func (c conns) openedSince(t time.Time) bool {
	return slices.ContainsFunc(c.all(), func(conn network.Conn) bool { return conn.Stat().Opened.After(t) })
}

// old returns the connection on which libp2p would open the next stream: a direct one if there
// is one, then the one with the most streams. It returns nil if that connection was not opened before
// the given time.
func (c conns) old(before time.Time) network.Conn {
	var best network.Conn
	rank := func(conn network.Conn) int {
		if conn.Stat().Limited {
			return len(conn.GetStreams())
		}
		return 1<<20 + len(conn.GetStreams())
	}
	for _, conn := range c.all() {
		if !conn.IsClosed() && (best == nil || rank(conn) >= rank(best)) {
			best = conn
		}
	}
	if best == nil || !best.Stat().Opened.Before(before) {
		return nil
	}
	return best
}

// answerBudget returns how long an answer should be, in bytes, if the host is connected only
// over relays that carry a limited number of bytes. limited is whether it is.
func (c conns) answerBudget() (bytes int, limited bool) {
	for _, conn := range c.all() {
		stat := conn.Stat()
		if !stat.Limited {
			return 0, false
		}
		bytes, limited = answerBudget(stat.Extra[circuit.StatLimitData]), true
	}
	return bytes, limited
}
