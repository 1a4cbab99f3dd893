package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// clientRows returns the rows of the table of clients.
func clientRows() []*row {
	list := []*row{{program: nodeClient, protocol: canvasID, transport: "ws", storage: "memory"}}
	for _, storage := range storages {
		list = append(list, &row{program: nodeClient, protocol: rendezvous.StandardID, transport: "ws", storage: storage})
	}
	for _, storage := range storages {
		list = append(list, &row{program: pageClient, protocol: rendezvous.StandardID, transport: "ws", storage: storage})
	}
	for _, transport := range []string{"webtransport", "webrtc-direct"} {
		list = append(list, &row{program: pageClient, protocol: rendezvous.StandardID, transport: transport, storage: "memory"})
	}
	return withSteps(list, steps)
}

// serverRows returns the rows of the table of servers.
func serverRows() []*row {
	var list []*row
	for _, id := range []protocol.ID{canvasID, rendezvous.StandardID} {
		list = append(list, &row{program: "canvas-js", protocol: id, transport: "ws", storage: "SQLite"})
	}
	return withSteps(list, serverSteps)
}

// checkAll checks all rows at once.
func checkAll(ctx context.Context, w *world) (clients, servers []*row) {
	clients, servers = clientRows(), serverRows()
	var wg sync.WaitGroup
	for i, r := range clients {
		wg.Go(func() { r.err = checkClient(ctx, w, r, fmt.Sprintf("row%d", i)) })
	}
	for i, r := range servers {
		wg.Go(func() { r.err = checkServer(ctx, w, r, fmt.Sprintf("server%d", i)) })
	}
	wg.Wait()
	return clients, servers
}

// checkClient takes the steps of a client. The row's namespaces begin with name.
func checkClient(ctx context.Context, w *world, r *row, name string) (err error) {
	point := w.points[r.storage]
	s := &scenario{row: r, world: w, name: name, point: point.addr(r.transport)}
	if s.point == "" {
		return fmt.Errorf("the point has no address for %s: %q", r.transport, point.addrs)
	}
	if s.native, err = newNative(point.info, rendezvous.RendezvousID_v001); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel() // ends the native peer's registrations
		s.close()
		err = errors.Join(err, s.native.close())
	}()
	try(ctx, r, steps, s)
	return nil
}

// checkServer takes the steps of a server.
func checkServer(ctx context.Context, w *world, r *row, name string) (err error) {
	s := &serverScenario{row: r, world: w, name: name}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel() // ends what the peers of this library do
		err = errors.Join(err, s.close())
	}()
	try(ctx, r, serverSteps, s)
	return nil
}
