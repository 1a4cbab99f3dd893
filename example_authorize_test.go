package rendezvous_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// An allow-list of who may register at all, and a namespace that only members may
// see. Everyone may ask for the rest.
func ExampleWithAuthorizer() {
	ctx := context.Background()
	point, member, stranger := exampleHost(), exampleHost(), exampleHost()
	defer point.Close()
	defer member.Close()
	defer stranger.Close()

	allowed := map[peer.ID]bool{member.ID(): true}
	hidden := map[string]map[peer.ID]bool{"staff": {member.ID(): true}}
	authorize := func(_ context.Context, r rendezvous.Request) error {
		if r.Register && !allowed[r.Peer] {
			return errors.New("not on the list")
		}
		if members, ok := hidden[r.Namespace]; ok && !members[r.Peer] {
			return errors.New("members only")
		}
		return nil
	}
	storage := rendezvous.NewMemoryStorage()
	defer storage.Close()
	service := rendezvous.NewRendezvousService(point, storage, rendezvous.WithAuthorizer(authorize))
	if err := service.Start(); err != nil {
		log.Fatal(err)
	}
	defer service.Stop()

	at := rendezvous.WithPoints(peer.AddrInfo{ID: point.ID(), Addrs: point.Addrs()})
	insider, outsider := rendezvous.NewClient(member, at), rendezvous.NewClient(stranger, at)
	_, err := insider.Register(ctx, point.ID(), "staff", 0)
	fmt.Println("member registers:", err)
	_, err = outsider.Register(ctx, point.ID(), "lobby", 0)
	fmt.Println("stranger is refused:", errors.Is(err, rendezvous.ErrNotAuthorized))
	_, err = outsider.Discover(ctx, point.ID(), "staff", 0)
	fmt.Println("stranger looks into staff, and is refused:", errors.Is(err, rendezvous.ErrNotAuthorized))
	found, err := outsider.Discover(ctx, point.ID(), "", 0)
	fmt.Println("stranger asks across all:", len(found), err)
	found, err = insider.Discover(ctx, point.ID(), "", 0)
	fmt.Println("member asks across all:", len(found), err)
	// Output:
	// member registers: <nil>
	// stranger is refused: true
	// stranger looks into staff, and is refused: true
	// stranger asks across all: 0 <nil>
	// member asks across all: 1 <nil>
}
