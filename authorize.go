package rendezvous

// Who may register and discover what, where not everyone may.

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// Request is what a peer asks of a point, for an [Authorizer] to decide on.
type Request struct {
	// Peer is who asks, as its connection has proved.
	Peer peer.ID
	// Addr is where the connection comes from; that of a relayed one goes through its relay.
	Addr ma.Multiaddr
	// Register is whether it asks to be registered; else it asks who is.
	Register bool
	// Namespace is where. It is "" in a request to discover across all namespaces.
	Namespace string
}

// Authorizer decides on a request: nil lets it pass, and an error, whatever it
// says, is answered E_NOT_AUTHORIZED. It is called at the same time from many
// goroutines, after a registration's record was verified, and again for each
// refresh; ctx ends when the peer's time is up or the service stops.
//
// Where a peer discovers across all namespaces, the authorizer is asked about ""
// first and then about each namespace that the answer would show; registrations in
// those it refuses are left out. So a namespace that it keeps from a peer stays
// hidden from it also there.
type Authorizer func(ctx context.Context, r Request) error

// check asks the authorizer.
func (a Authorizer) check(ctx context.Context, r Request) error {
	if a == nil || a(ctx, r) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil { // it had no time to decide
		return err
	}
	return refuse(pb.Message_E_NOT_AUTHORIZED, "not authorized")
}

// visible returns those of found that the authorizer lets the peer of r see.
// They are the caller's own, and written over.
func (a Authorizer) visible(ctx context.Context, r Request, found []listing) ([]listing, error) {
	if a == nil {
		return found, nil
	}
	seen := make(map[string]bool)
	kept := found[:0]
	for _, l := range found {
		shown, asked := seen[l.namespace]
		if !asked {
			r.Namespace = l.namespace
			shown = a.check(ctx, r) == nil
			seen[l.namespace] = shown
		}
		if shown {
			kept = append(kept, l)
		}
	}
	clear(found[len(kept):])
	return kept, ctx.Err()
}
