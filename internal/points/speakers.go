package points

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// rememberFor is how long a point is remembered after the peerstore forgot it,
	// which is a minute after the last connection to it ended. A point that was down
	// for longer than that minute is still found again.
	rememberFor = time.Hour
	// Such a point is remembered only as long as fewer than maxRemembered points are known.
	// This bounds the memory that peers can take by claiming to be points and going away.
	maxRemembered = 64
	// maxAddrsSize bounds what is remembered of the addresses of one point, in bytes of
	// binary multiaddr.
	maxAddrsSize = 2048
)

// speakers returns the points that the host's peerstore knows: all peers that speak one
// of the protocols, and some that did until the peerstore forgot them. It takes the Point
// of a peer from before where there is one.
func speakers(c *Config, before map[peer.ID]*Point) map[peer.ID]*Point {
	now := time.Now()
	book := c.Host.Peerstore()
	found := make(map[peer.ID]*Point)
	for _, id := range book.Peers() {
		has, err := book.SupportsProtocols(id, c.Protocols...)
		if err != nil || len(has) == 0 || id == c.Host.ID() {
			continue
		}
		p := before[id]
		if p == nil {
			p = newPoint(c, id)
		}
		p.setAddrs(firstAddrs(book.Addrs(id)))
		p.setSeen(now)
		found[id] = p
	}
	for id, p := range before {
		if found[id] == nil && len(found) < maxRemembered && remembered(c, p, now) {
			found[id] = p
		}
	}
	return found
}

// remembered reports whether a point still counts as one although the peerstore does not
// say so any more. If the peerstore knows other protocols of the peer, it has stopped
// being a point.
func remembered(c *Config, p *Point, now time.Time) bool {
	others, err := c.Host.Peerstore().GetProtocols(p.id)
	return err == nil && len(others) == 0 && now.Sub(p.lastSeen()) < rememberFor
}

// firstAddrs returns the first of addrs, up to maxAddrsSize bytes.
func firstAddrs(addrs []ma.Multiaddr) []ma.Multiaddr {
	size := 0
	for i, a := range addrs {
		if size += len(a.Bytes()); size > maxAddrsSize {
			return slices.Clone(addrs[:i])
		}
	}
	return addrs
}
