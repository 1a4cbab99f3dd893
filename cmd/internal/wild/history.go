//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// history is a record of everything that the programs of a network print. Its methods may be
// called at the same time. Its fields may be read when the programs have ended.
type history struct {
	nodes map[string]*node // by peer ID

	mu            sync.Mutex
	places        places
	ready         map[string]bool   // by program: it has started; by point: it has answered
	states        map[string]string // by node: the last state of KeepRegistered
	registrations *registrations
	searched      *findings
	watched       *findings
	meshes        *meshes
}

func newHistory(l *layout) *history {
	h := &history{
		nodes:         make(map[string]*node),
		places:        make(places),
		ready:         make(map[string]bool),
		states:        make(map[string]string),
		registrations: newRegistrations(l),
		searched:      newFindings("FindPeers", l),
		watched:       newFindings("Watch", l),
		meshes:        newMeshes(l),
	}
	for _, n := range l.nodes {
		h.nodes[n.id] = n
		h.places[n.name] = n.addr
	}
	return h
}

// add records a line of a program's output.
func (h *history) add(program string, l line) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[l.Peer]
	if l.Peer != "" && n == nil {
		return nil // a point, or a peer that the hostile point has made up
	}
	switch l.Kind {
	case kindReady:
		h.ready[program] = true
	case kindState:
		h.states[program] = l.Text
	case kindAnswer:
		h.ready[l.Point] = true
		h.registrations.add(l, h.places)
	case kindNoAnswer:
		h.registrations.add(l, h.places)
	case kindSearch:
		return h.searched.addSearch(program, l, h.places)
	case kindWatch:
		h.watched.addEvent(program, n, l, h.places)
	case kindMesh:
		h.meshes.add(program, l)
	case kindClosed:
		h.meshes.addClosing(program, n, l)
	case kindMessage:
		h.meshes.addMessage(program, n, l)
	default:
		return fmt.Errorf("%s printed a line of kind %q", program, l.Kind)
	}
	return nil
}

// moved records that a node has another address from an instant on.
func (h *history) moved(n *node, at instant, addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places[n.name] = addr
	h.registrations.moved(n, at)
	h.searched.moved(n, at)
	h.watched.moved(n, at)
}

// begin begins the measurement of the observer's lateness anew.
func (h *history) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.registrations.lateness = 0
}

// meet records the points at which peers meet now.
func (h *history) meet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.registrations.meet()
}

// busiest returns a point at which the peers of all namespaces meet, "" if there is none.
func (h *history) busiest() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.registrations.busiest()
}

// allReady reports whether all of some programs have started.
func (h *history) allReady(programs ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(programs, func(p string) bool { return !h.ready[p] })
}

// missing lists everything that is missing now: registrations, meshes, and peers that others
// do not know.
func (h *history) missing() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	wrong := slices.Concat(h.registrations.missing(h.states), h.meshes.missing(), h.searched.missing(), h.watched.missing())
	slices.Sort(wrong)
	return wrong
}
