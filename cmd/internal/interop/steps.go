package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// steps are the columns of the table of clients. Each is a promise to a client.
var steps = []step[*scenario]{
	{"connect", (*scenario).connect, true},
	{"register", (*scenario).register, false},
	{"found over 0.0.1", (*scenario).foundByNative, false},
	{"finds over 0.0.1", (*scenario).findsNative, false},
	{"one stream", (*scenario).oneStream, false},
	{"unregister", (*scenario).unregister, false},
	{"refresh", (*scenario).refresh, false},
	{"leave", (*scenario).leave, false},
}

// TTLs that clients ask for. The client refreshes half a minute before the end, but not
// more often than every half a minute.
const (
	manualTTL = 120 // seconds; lasts until the end
	autoTTL   = 50  // seconds; refreshed after 30
	singleTTL = 30  // seconds; not refreshed
)

// scenario is a point with two clients, and a peer of this library.
type scenario struct {
	row    *row
	world  *world
	name   string
	point  string // the address at which the clients reach it
	native *native

	manual, auto         *client // one does what it is told, one registers by itself
	manualSelf, autoSelf self
	autoStarted          time.Time
}

func (s *scenario) close() {
	for _, c := range []*client{s.manual, s.auto} {
		if c != nil {
			c.at.close()
		}
	}
}

// ns returns a namespace of the row.
func (s *scenario) ns(of string) string { return s.name + "/" + of }

// connect starts the clients, and has the first connect to the point.
func (s *scenario) connect(ctx context.Context) (err error) {
	addresses := settings{Listen: []string{"/ip4/127.0.0.1/tcp/0/ws"}}
	if s.row.program == pageClient {
		// A page cannot listen. Peers could reach it through a relay at an address such as this.
		addresses.Listen, addresses.Announce = nil, []string{"/ip4/127.0.0.1/tcp/9/ws"}
	}
	if s.manual, s.manualSelf, err = s.startClient(ctx, "manual", addresses); err != nil {
		return err
	}
	if _, err := s.manual.discover(ctx, s.point, s.ns("nobody")); err != nil {
		return err
	}
	connections, err := s.manual.connections(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(connections, func(a string) bool { return strings.Contains(a, "/"+s.row.transport+"/") }) {
		return fmt.Errorf("connected to %q, not over %s", connections, s.row.transport)
	}
	// Both are registered before the client that discovers by itself starts.
	if err := s.native.keepRegistered(ctx, s.ns("native"), s.ns("auto")); err != nil {
		return err
	}
	addresses.Auto = &autoRegister{Namespaces: []string{s.ns("auto")}, Multiaddrs: []string{s.point}, TTL: autoTTL, InitialTimeout: 1}
	s.autoStarted = time.Now()
	s.auto, s.autoSelf, err = s.startClient(ctx, "auto", addresses)
	return err
}

func (s *scenario) startClient(ctx context.Context, name string, with settings) (*client, self, error) {
	c, err := s.world.newClient(ctx, s.row.program, s.name+"-"+name+".log")
	if err != nil {
		return nil, self{}, err
	}
	me, err := c.start(ctx, s.row.protocol, with)
	if err != nil {
		c.at.close()
	}
	return c, me, err
}

// register: the point grants what the client asks for, and its own default if that is
// nothing.
func (s *scenario) register(ctx context.Context) error {
	results, err := s.manual.requests(ctx, s.point, request{Op: "register", NS: s.ns("manual"), TTL: manualTTL})
	if err != nil {
		return err
	}
	if results[0].TTL != manualTTL {
		return fmt.Errorf("TTL of %d s granted, and %d s asked", results[0].TTL, manualTTL)
	}
	if results, err = s.manual.requests(ctx, s.point, request{Op: "register", NS: s.ns("default")}); err != nil {
		return err
	}
	if want := int(rendezvous.DefaultStandardTTL.Seconds()); results[0].TTL != want {
		return fmt.Errorf("TTL of %d s granted by default, not %d", results[0].TTL, want)
	}
	_, err = s.manual.requests(ctx, s.point, request{Op: "register", NS: s.ns("single"), TTL: singleTTL})
	return err
}

// foundByNative: the peer of this library finds the client, at its addresses. It connects to
// a client that listens.
func (s *scenario) foundByNative(ctx context.Context) error {
	r, err := s.native.find(ctx, s.ns("manual"), s.manualSelf.ID)
	if err != nil {
		return err
	}
	if !sameAddrs(s.manualSelf.Addrs, r.Peer.Addrs) {
		return fmt.Errorf("addresses %q registered, %q found", s.manualSelf.Addrs, r.Peer.Addrs)
	}
	if s.row.program == nodeClient {
		return s.native.dial(ctx, r.Peer)
	}
	return nil
}

// findsNative: the client finds the peer of this library, and connects to it.
func (s *scenario) findsNative(ctx context.Context) error {
	peers, err := s.manual.discover(ctx, s.point, s.ns("native"))
	if err != nil {
		return err
	}
	id := s.native.host.ID().String()
	if !contains(peers, id) {
		return fmt.Errorf("%s is not among the peers: %+v", id, peers)
	}
	return s.manual.dial(ctx, id)
}

// oneStream: requests of all types share a stream, and are answered in order.
func (s *scenario) oneStream(ctx context.Context) error {
	one, two, native := s.ns("one"), s.ns("two"), s.ns("native")
	results, err := s.manual.requests(ctx, s.point,
		request{Op: "register", NS: one, TTL: 61},
		request{Op: "discover", NS: native, Limit: 1},
		request{Op: "register", NS: two, TTL: 62},
		request{Op: "unregister", NS: one},
		request{Op: "discover", NS: s.ns("nobody")},
		request{Op: "register", NS: two, TTL: 63},
		request{Op: "discover", NS: native},
	)
	if err != nil {
		return err
	}
	id := s.native.host.ID().String()
	if results[0].TTL != 61 || results[2].TTL != 62 || results[5].TTL != 63 ||
		!contains(results[1].Peers, id) || len(results[4].Peers) != 0 || !contains(results[6].Peers, id) {
		return fmt.Errorf("answers are out of order: %+v", results)
	}
	if _, err := s.native.find(ctx, two, s.manualSelf.ID); err != nil {
		return err
	}
	return s.native.absent(ctx, one, s.manualSelf.ID)
}

// unregister: nobody finds the client afterwards. The client's DISCOVER is answered after
// UNREGISTER, which has no answer, is carried out.
func (s *scenario) unregister(ctx context.Context) error {
	_, err := s.manual.requests(ctx, s.point, request{Op: "unregister", NS: s.ns("manual")}, request{Op: "discover", NS: s.ns("manual")})
	if err != nil {
		return err
	}
	if err := s.native.absent(ctx, s.ns("manual"), s.manualSelf.ID); err != nil {
		return err
	}
	peers, err := s.auto.discover(ctx, s.point, s.ns("manual"))
	if err == nil && contains(peers, s.manualSelf.ID) {
		err = errors.New("another client still finds it")
	}
	return err
}

// refresh: the client that registers by itself is found after the TTL that it asked for. It
// has found the peer of this library. A registration that was not refreshed has ended.
func (s *scenario) refresh(ctx context.Context) error {
	if err := await(ctx, "the client to register by itself", 20*time.Second, func() error {
		_, err := s.native.find(ctx, s.ns("auto"), s.autoSelf.ID)
		return err
	}); err != nil {
		return err
	}
	if err := await(ctx, "the client to discover by itself", 20*time.Second, func() error {
		ids, err := s.auto.discovered(ctx)
		if err == nil && !slices.Contains(ids, s.native.host.ID().String()) {
			err = fmt.Errorf("it has found %q", ids)
		}
		return err
	}); err != nil {
		return err
	}
	registered := time.Now() // or earlier

	select {
	case <-time.After(time.Until(registered.Add((autoTTL + 8) * time.Second))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	peers, err := s.manual.discover(ctx, s.point, s.ns("auto"))
	if err != nil {
		return err
	}
	if !contains(peers, s.autoSelf.ID) {
		return fmt.Errorf("not found %v after it started, with a TTL of %d s", time.Since(s.autoStarted).Round(time.Second), autoTTL)
	}
	if _, err := s.native.find(ctx, s.ns("auto"), s.autoSelf.ID); err != nil {
		return err
	}
	if peers, err = s.auto.discover(ctx, s.point, s.ns("single")); err == nil && len(peers) > 0 {
		err = fmt.Errorf("a registration of %d s that was not refreshed is still found", singleTTL)
	}
	return err
}

// leave: a client that ends without UNREGISTER is soon found over 0.0.1 no longer, though
// its registration of hours lives on, and others of its kind still find it.
func (s *scenario) leave(ctx context.Context) error {
	long := s.ns("long")
	results, err := s.auto.requests(ctx, s.point, request{Op: "register", NS: long, TTL: 7200})
	if err != nil {
		return err
	}
	if results[0].TTL != 7200 {
		return fmt.Errorf("TTL of %d s granted, and 7200 s asked", results[0].TTL)
	}
	if _, err := s.native.find(ctx, long, s.autoSelf.ID); err != nil {
		return err
	}
	if err := s.auto.stop(ctx); err != nil {
		return err
	}
	if err := await(ctx, "the end over 0.0.1", 40*time.Second, func() error { return s.native.absent(ctx, long, s.autoSelf.ID) }); err != nil {
		return err
	}
	peers, err := s.manual.discover(ctx, s.point, long)
	if err == nil && !contains(peers, s.autoSelf.ID) {
		err = errors.New("another client does not find it, though its TTL is two hours")
	}
	return err
}

func contains(peers []found, id string) bool {
	return slices.ContainsFunc(peers, func(p found) bool { return p.ID == id })
}
