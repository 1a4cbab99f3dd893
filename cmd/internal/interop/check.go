package main

import (
	"context"
	"fmt"
	"sync"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// newRows returns the rows of the table, with nothing tried yet.
func newRows() []*row {
	list := []*row{{client: nodeClient, protocol: canvasID, transport: "ws", storage: "memory"}}
	for _, storage := range storages {
		list = append(list, &row{client: nodeClient, protocol: rendezvous.StandardID, transport: "ws", storage: storage})
	}
	for _, transport := range []string{"ws", "webtransport", "webrtc-direct"} {
		list = append(list, &row{client: pageClient, protocol: rendezvous.StandardID, transport: transport, storage: "memory"})
	}
	for _, r := range list {
		for _, s := range steps {
			r.outcomes = append(r.outcomes, outcome{step: s.name, err: errNotTried})
		}
	}
	return list
}

// checkAll checks all rows at once.
func checkAll(ctx context.Context, w *world) []*row {
	list := newRows()
	var wg sync.WaitGroup
	for i, r := range list {
		wg.Go(func() { r.err = check(ctx, w, r, fmt.Sprintf("row%d", i)) })
	}
	wg.Wait()
	return list
}

// check makes the steps of a row in their order. The row's namespaces begin with name.
func check(ctx context.Context, w *world, r *row, name string) (err error) {
	point := w.points[r.storage]
	s := &scenario{row: r, world: w, name: name, info: point.info, point: point.addr(r.transport)}
	if s.point == "" {
		return fmt.Errorf("the point has no address for %s: %q", r.transport, point.addrs)
	}
	if s.native, err = newNative(point.info); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel() // ends the native peer's registrations
		s.close()
		if e := s.native.close(); err == nil {
			err = e
		}
	}()
	for i, step := range steps {
		r.outcomes[i].err = step.do(s, ctx)
		if r.outcomes[i].err != nil && step.needed {
			break
		}
	}
	return nil
}
