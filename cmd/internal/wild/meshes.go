//go:build linux

package main

// enoughMesh is how many peers a mesh needs. It is gossipsub's own measure (Dlo): with
// fewer it searches for more.
const enoughMesh = 5

// meshes is who has a mesh, and whom messages reach.
type meshes struct {
	mesh     map[string]*timeline // by node
	messages map[pair]*arrivals   // by receiver, of author
	closings []closing
}

// closing is the end of a connection between two peers, as one of them notices it.
type closing struct {
	a, b       string // names
	opened, at instant
}

func newMeshes(l *layout) *meshes {
	m := &meshes{mesh: make(map[string]*timeline), messages: make(map[pair]*arrivals)}
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

// add adds what a node says of its mesh.
func (m *meshes) add(node string, l line) { m.mesh[node].set(l.Time, len(l.Peers) >= enoughMesh) }

// addMessage adds a message.
func (m *meshes) addMessage(to string, from *node, l line) {
	if to != from.name {
		m.messages[pair{to, from.name}].add(l.Time)
	}
}

// addClosing adds that a node has closed a connection to another.
func (m *meshes) addClosing(node string, other *node, l line) {
	m.closings = append(m.closings, closing{node, other.name, l.Began, l.Time})
}

// missing says who has no mesh now.
func (m *meshes) missing() []string {
	var wrong []string
	for name, line := range m.mesh {
		if !line.last() {
			wrong = append(wrong, name+" has no mesh")
		}
	}
	return wrong
}

// lapses returns when nodes had too few peers in their mesh. A mesh cannot be made while
// libp2p takes a dead connection for a living one: gossipsub uses that one, at either
// end. So the time begins when the last connection is closed that is older than from.
func (m *meshes) lapses(nodes []*node, from, to instant) []lapse {
	var all []lapse
	for _, n := range nodes {
		gaps := m.mesh[n.name].gaps(from, to)
		for i := range gaps {
			gaps[i].from = max(gaps[i].from, m.lastClosing(n, from, gaps[i].to))
		}
		all = append(all, lapses(n.name, gaps)...)
	}
	return all
}

// lastClosing returns when the last connection of a node was closed until an instant, of
// those that were opened before another.
func (m *meshes) lastClosing(n *node, opened, until instant) instant {
	var last instant
	for _, c := range m.closings {
		if (c.a == n.name || c.b == n.name) && c.opened < opened && c.at <= until {
			last = max(last, c.at)
		}
	}
	return last
}

// silences returns when messages of the second of a pair did not reach the first.
func (m *meshes) silences(pairs []pair, from, to instant) []lapse {
	var all []lapse
	for _, p := range pairs {
		all = append(all, lapses(p.of+" to "+p.by, m.messages[p].gaps(from, to))...)
	}
	return all
}
