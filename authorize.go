package rendezvous

// Authorization: who may register in and discover a namespace.

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// Request is a peer's request to a point, for an [Authorizer] to decide on.
type Request struct {
	// Peer is the peer that asks, as its connection has proved.
	Peer peer.ID
	// Addr is the remote address of the connection. That of a relayed connection goes
	// through its relay.
	Addr ma.Multiaddr
	// Register is true for a REGISTER, false for a DISCOVER.
	Register bool
	// Namespace is the namespace of the request. It is "" in a DISCOVER across all
	// namespaces.
	Namespace string
}

// Authorizer decides on a request. It returns nil to allow it. Any error is answered
// E_NOT_AUTHORIZED. It is called concurrently from many goroutines, after a registration's
// record was verified, and again for each refresh. ctx ends when the request has taken too
// long or the service stops. It is not asked about an UNREGISTER, which ends only
// registrations of its sender.
//
// For a DISCOVER across all namespaces, the authorizer is called with "" first and then
// once with each namespace that is drawn. Registrations in namespaces that it refuses are
// left out and others drawn in their place, so a namespace that is hidden from a peer
// stays hidden there too. If nearly all are hidden, the answer may be shorter than the
// limit. Its length is then rounded down to a power of two.
type Authorizer func(ctx context.Context, r Request) error

// check asks the authorizer.
func (a Authorizer) check(ctx context.Context, r Request) error {
	if a == nil || a(ctx, r) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil { // the authorizer had no time to decide
		return err
	}
	return refuse(pb.Message_E_NOT_AUTHORIZED, "not authorized")
}

// maxAsked is how many namespaces an authorizer is asked about for one request. Others are
// hidden.
const maxAsked = 1000

// visibility remembers which namespaces the peer of a request may see.
type visibility struct {
	authorize Authorizer
	request   Request
	allowed   map[string]bool // by namespace
}

// filter returns those of found that the peer may see. It overwrites found.
func (v *visibility) filter(ctx context.Context, found []wire.Found) ([]wire.Found, error) {
	visible := found[:0]
	for _, f := range found {
		if v.sees(ctx, f.Namespace) {
			visible = append(visible, f)
		}
	}
	clear(found[len(visible):])
	return visible, ctx.Err()
}

func (v *visibility) sees(ctx context.Context, namespace string) bool {
	ok, asked := v.allowed[namespace]
	if !asked && len(v.allowed) < maxAsked {
		v.request.Namespace = namespace
		ok = v.authorize.check(ctx, v.request) == nil
		v.allowed[namespace] = ok
	}
	return ok
}
