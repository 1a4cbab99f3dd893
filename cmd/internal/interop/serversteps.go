package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// serverSteps are the columns of the table of servers. Each is a promise to who uses this
// library's client there.
var serverSteps = []step[*serverScenario]{
	{"connect", (*serverScenario).connect, true},
	{"register", (*serverScenario).register, true},
	{"found by its client", (*serverScenario).foundByOther, false},
	{"found by Client", (*serverScenario).foundByNative, false},
	{"finds its client", (*serverScenario).findsOther, false},
	{"watch", (*serverScenario).watch, true},
	{"command", (*serverScenario).command, false},
	{"unregister", (*serverScenario).unregister, false},
	{"pages", (*serverScenario).pages, false},
	{"refresh", (*serverScenario).refresh, false},
	{"left", (*serverScenario).left, false},
}

const (
	shortTTL = 30 * time.Second
	// newest is how many registrations the server hands out, the newest ones. Its cookies
	// lead back to these.
	newest = 64
)

// serverScenario is a server with a client of its kind, and peers of this library: one
// registers, and one looks for it.
type serverScenario struct {
	row   *row
	world *world
	name  string

	server *client // runs interop/server.js
	addr   string
	info   peer.AddrInfo // of the server

	other            *client
	otherSelf        self
	keeper, seeker   *native
	short            *native // like keeper, with a TTL that is short
	shortSince       time.Time
	events           <-chan rendezvous.Event // that seeker sees in the keeper's namespace
	endRegistrations context.CancelFunc      // of keeper
}

func (s *serverScenario) close() error {
	var errs []error
	for _, n := range []*native{s.keeper, s.seeker, s.short} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	for _, c := range []*client{s.other, s.server} {
		if c != nil {
			c.at.close()
		}
	}
	return errors.Join(errs...)
}

// ns returns a namespace of the row.
func (s *serverScenario) ns(of string) string { return s.name + "/" + of }

// connect starts the server and its clients.
func (s *serverScenario) connect(ctx context.Context) (err error) {
	listen := settings{Listen: []string{"/ip4/127.0.0.1/tcp/0/ws"}}
	if s.server, err = s.world.newServer(ctx, s.name+".log"); err != nil {
		return err
	}
	me, err := s.server.start(ctx, s.row.protocol, listen)
	if err != nil {
		return err
	}
	infos, err := peer.AddrInfosFromP2pAddrs(parseAddrs(me.Addrs)...)
	if err != nil || len(infos) != 1 {
		return fmt.Errorf("addresses of the server %q: %w", me.Addrs, err)
	}
	s.info, s.addr = infos[0], me.Addrs[0]
	if s.other, err = s.world.newClient(ctx, nodeClient, s.name+"-client.log"); err != nil {
		return err
	}
	if s.otherSelf, err = s.other.start(ctx, s.row.protocol, listen); err != nil {
		return err
	}
	if s.keeper, err = newNative(s.info, s.row.protocol); err != nil {
		return err
	}
	if s.short, err = newNative(s.info, s.row.protocol, rendezvous.WithStandardTTL(shortTTL)); err != nil {
		return err
	}
	if s.seeker, err = newNative(s.info, s.row.protocol); err != nil {
		return err
	}
	_, err = s.seeker.client.Discover(ctx, s.info.ID, s.ns("nobody"), 0)
	return err
}

// register: the server grants what a peer of this library asks for, and two hours if that is
// nothing. KeepRegistered asks for two hours, or for what WithStandardTTL says.
func (s *serverScenario) register(ctx context.Context) error {
	for _, ttl := range []struct{ asked, want time.Duration }{{0, 2 * time.Hour}, {shortTTL, shortTTL}} {
		granted, err := s.short.client.Register(ctx, s.info.ID, s.ns("single"), ttl.asked)
		if err != nil {
			return err
		}
		if granted != ttl.want {
			return fmt.Errorf("TTL of %v granted, and %v asked", granted, ttl.asked)
		}
	}
	if err := s.short.keepRegistered(ctx, s.ns("short")); err != nil {
		return err
	}
	s.shortSince = time.Now()
	keep, cancel := context.WithCancel(ctx)
	s.endRegistrations = cancel
	return s.keeper.keepRegistered(keep, s.ns("kept"))
}

// foundByOther: the server's own client finds a peer of this library, and connects to it.
func (s *serverScenario) foundByOther(ctx context.Context) error {
	id := s.keeper.host.ID().String()
	peers, err := s.other.discover(ctx, s.addr, s.ns("kept"))
	if err != nil {
		return err
	}
	if !contains(peers, id) {
		return fmt.Errorf("%s is not among the peers: %+v", id, peers)
	}
	return s.other.dial(ctx, id)
}

// foundByNative: another peer of this library finds it, for two hours, and connects to it.
func (s *serverScenario) foundByNative(ctx context.Context) error {
	r, err := s.seeker.find(ctx, s.ns("kept"), s.keeper.host.ID().String())
	if err != nil {
		return err
	}
	if r.TTL <= time.Hour || r.TTL > 2*time.Hour {
		return fmt.Errorf("found with a TTL of %v", r.TTL)
	}
	return s.seeker.dial(ctx, r.Peer)
}

// findsOther: a peer of this library finds the server's own client, and connects to it.
func (s *serverScenario) findsOther(ctx context.Context) error {
	if _, err := s.other.requests(ctx, s.addr, request{Op: "register", NS: s.ns("other"), TTL: manualTTL}); err != nil {
		return err
	}
	r, err := s.seeker.find(ctx, s.ns("other"), s.otherSelf.ID)
	if err != nil {
		return err
	}
	if !sameAddrs(s.otherSelf.Addrs, r.Peer.Addrs) {
		return fmt.Errorf("addresses %q registered, %q found", s.otherSelf.Addrs, r.Peer.Addrs)
	}
	return s.seeker.dial(ctx, r.Peer)
}

// watch: Watch tells of who is there, and then, by following cookies, of who comes.
func (s *serverScenario) watch(ctx context.Context) (err error) {
	if s.events, err = s.seeker.client.Watch(ctx, s.ns("kept")); err != nil {
		return err
	}
	if err := s.awaitEvent(ctx, rendezvous.Joined, s.keeper.host.ID().String(), 20*time.Second); err != nil {
		return err
	}
	if _, err := s.other.requests(ctx, s.addr, request{Op: "register", NS: s.ns("kept"), TTL: 7200}); err != nil {
		return err
	}
	return s.awaitEvent(ctx, rendezvous.Joined, s.otherSelf.ID, 20*time.Second)
}

// awaitEvent waits until the watching peer is told of another one.
func (s *serverScenario) awaitEvent(ctx context.Context, what rendezvous.EventType, id string, atMost time.Duration) error {
	timeout := time.After(atMost)
	for {
		select {
		case e, ok := <-s.events:
			switch {
			case !ok:
				return fmt.Errorf("watch for %s to have %v: %w", id, what, context.Cause(ctx))
			case e.Peer.ID.String() != id: // another one
			case e.Type == what:
				return nil
			case e.Type != rendezvous.Moved:
				return fmt.Errorf("%s has %v, not %v", id, e.Type, what)
			}
		case <-timeout:
			return fmt.Errorf("not told after %v that %s has %v", atMost, id, what)
		}
	}
}

// command: "rendezvous discover" prints who is there.
func (s *serverScenario) command(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.world.binary, "discover", "--json", "--timeout", "20s", //nolint:gosec // the arguments are this program's own
		"--point", s.addr, "--protocol", string(s.row.protocol), s.ns("kept"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("rendezvous discover: %w: %s", err, &stderr)
	}
	var printed []string
	for line := range bytes.Lines(out) {
		var p struct {
			Peer string `json:"peer"`
		}
		if err := json.Unmarshal(line, &p); err != nil {
			return fmt.Errorf("rendezvous discover printed %q: %w", line, err)
		}
		printed = append(printed, p.Peer)
	}
	want := []string{s.keeper.host.ID().String(), s.otherSelf.ID}
	slices.Sort(printed)
	slices.Sort(want)
	if !slices.Equal(printed, want) {
		return fmt.Errorf("rendezvous discover printed the peers %q, not %q", printed, want)
	}
	return nil
}

// unregister: once KeepRegistered's context has ended, nobody finds the peer, though its TTL
// of two hours has not passed.
func (s *serverScenario) unregister(ctx context.Context) error {
	s.endRegistrations()
	id := s.keeper.host.ID().String()
	if err := await(ctx, "UNREGISTER", 20*time.Second, func() error { return s.seeker.absent(ctx, s.ns("kept"), id) }); err != nil {
		return err
	}
	peers, err := s.other.discover(ctx, s.addr, s.ns("kept"))
	if err == nil && contains(peers, id) {
		err = errors.New("the server's own client still finds it")
	}
	return err
}

// pages: of more than 64 peers, Discover returns the newest 64, and comes to an end though
// the server's cookies do not.
func (s *serverScenario) pages(ctx context.Context) error {
	var registered []string
	for range newest + 6 {
		n, err := newNative(s.info, s.row.protocol)
		if err != nil {
			return err
		}
		registered = append(registered, n.host.ID().String())
		_, err = n.client.Register(ctx, s.info.ID, s.ns("many"), 0)
		if err := errors.Join(err, n.close()); err != nil {
			return err
		}
	}
	registrations, err := s.seeker.client.Discover(ctx, s.info.ID, s.ns("many"), 0)
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range registrations {
		ids = append(ids, r.Peer.ID.String())
	}
	want := registered[len(registered)-newest:]
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		return fmt.Errorf("%d peers found, not the newest %d", len(ids), newest)
	}
	return nil
}

// refresh: KeepRegistered refreshes a registration before its TTL ends. One that was not
// refreshed has ended.
func (s *serverScenario) refresh(ctx context.Context) error {
	select {
	case <-time.After(time.Until(s.shortSince.Add(shortTTL + 8*time.Second))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	id := s.short.host.ID().String()
	if _, err := s.seeker.find(ctx, s.ns("short"), id); err != nil {
		return err
	}
	return s.seeker.absent(ctx, s.ns("single"), id)
}

// left: Watch, which the server tells of nobody who unregisters, notices it in about a minute.
func (s *serverScenario) left(ctx context.Context) error {
	return s.awaitEvent(ctx, rendezvous.Left, s.keeper.host.ID().String(), 100*time.Second)
}
