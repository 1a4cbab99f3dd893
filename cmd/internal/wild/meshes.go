//go:build linux

package main

import "slices"

// enoughMesh is the number of peers that a mesh needs, half of those with which a peer of a
// single transport can connect. Gossipsub searches until it has 5, but may not get them:
// libp2p dials from the port that it listens on, and for hours a NAT drops a SYN from
// inside if a dead connection from outside had the same addresses and ports.
const enoughMesh = 3

// meshes records which nodes have a mesh, and which messages arrive.
type meshes struct {
	nodes    []*node
	mesh     map[string]*timeline // by node
	messages map[pair]*arrivals   // by receiver, of author
	closings []closing
}

// closing is the closing of a connection at one of its ends.
type closing struct {
	a, b       string // names of the nodes
	opened, at instant
}

func newMeshes(l *layout) *meshes {
	m := &meshes{nodes: l.nodes, mesh: make(map[string]*timeline), messages: make(map[pair]*arrivals)}
	for _, n := range l.nodes {
		m.mesh[n.name] = new(timeline)
		for _, other := range l.nodes {
			if n != other {
				m.messages[pair{n.name, other.name}] = &arrivals{every: messageEvery}
			}
		}
	}
	return m
}

// add records a node's mesh.
func (m *meshes) add(node string, l line) { m.mesh[node].set(l.Time, len(l.Peers) >= enoughMesh) }

// addMessage records a message.
func (m *meshes) addMessage(to string, from *node, l line) {
	if to != from.name {
		m.messages[pair{to, from.name}].add(l.Time)
	}
}

// addClosing records the closing of a connection.
func (m *meshes) addClosing(node string, other *node, l line) {
	m.closings = append(m.closings, closing{node, other.name, l.Began, l.Time})
}

// missing lists the nodes without a mesh.
func (m *meshes) missing() []string {
	var wrong []string
	for name, line := range m.mesh {
		if !line.last() {
			wrong = append(wrong, name+" has no mesh")
		}
	}
	return wrong
}

// gaps returns the times in which nodes had no mesh.
func (m *meshes) gaps(nodes []*node, from, to instant) []lapse {
	var all []lapse
	for _, n := range nodes {
		all = append(all, lapses(n.name, m.mesh[n.name].gaps(from, to))...)
	}
	return all
}

// lapses returns the times in which nodes had no mesh although they could have one.
func (m *meshes) lapses(nodes []*node, from, to instant) []lapse {
	var all []lapse
	for _, n := range nodes {
		possible := m.possible(n, from)
		for _, g := range m.mesh[n.name].gaps(from, to) {
			if g.from = max(g.from, possible); g.from < g.to {
				all = append(all, lapse{g, n.name})
			}
		}
	}
	return all
}

// possible returns the instant from which a node can have a mesh. While one end of a dead
// connection has not closed it, gossipsub uses it there, and the two nodes cannot be in each
// other's mesh. So it is the instant at which no connections that were opened before an
// instant are left between the node and enough of the others.
func (m *meshes) possible(n *node, opened instant) instant {
	var free []instant
	for _, other := range m.nodes {
		if other != n && n.connects(other) {
			free = append(free, m.lastClosing(n, other, opened))
		}
	}
	slices.Sort(free)
	return free[min(enoughMesh, len(free))-1]
}

// lastClosing returns the last instant at which one of two nodes closed a connection between
// them that was opened before an instant, 0 if there was none.
func (m *meshes) lastClosing(n, other *node, opened instant) instant {
	var last instant
	for _, c := range m.closings {
		between := c.a == n.name && c.b == other.name || c.a == other.name && c.b == n.name
		if between && c.opened < opened {
			last = max(last, c.at)
		}
	}
	return last
}

// silences returns the times in which messages of the second of a pair did not reach the
// first.
func (m *meshes) silences(pairs []pair, from, to instant) []lapse {
	var all []lapse
	for _, p := range pairs {
		all = append(all, lapses(p.of+" to "+p.by, m.messages[p].gaps(from, to))...)
	}
	return all
}
