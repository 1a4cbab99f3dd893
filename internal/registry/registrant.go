package registry

import (
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

// registrant is a peer that has registrations. A nil registrant has none.
type registrant struct {
	id peer.ID
	// envelope is what the peer registered last. Other registrations of the same
	// bytes share its memory.
	envelope string
	// registrations are in the order of their namespaces' names.
	registrations []*Registration
	// first is where registrations begins. Most peers have one, which then needs no
	// memory of its own.
	first [1]*Registration
}

func newRegistrant(id peer.ID) *registrant {
	p := &registrant{id: peer.ID(strings.Clone(string(id)))}
	p.registrations = p.first[:0]
	return p
}

// search returns where the registration in a namespace is, or else belongs.
func (p *registrant) search(namespace string) (at int, found bool) {
	return slices.BinarySearchFunc(p.registrations, namespace, func(r *Registration, namespace string) int {
		return strings.Compare(r.namespace.name, namespace)
	})
}

// find returns the registration in a namespace, or nil.
func (p *registrant) find(namespace string) *Registration {
	if p == nil {
		return nil
	}
	at, found := p.search(namespace)
	if !found {
		return nil
	}
	return p.registrations[at]
}

// live reports whether at least n registrations, one or more, are live at now.
func (p *registrant) live(now int64, n int) bool {
	if p == nil || len(p.registrations) < n {
		return false
	}
	for _, r := range p.registrations {
		if r.deadline > now {
			n--
		}
	}
	return n <= 0
}

func (p *registrant) add(r *Registration) {
	at, _ := p.search(r.namespace.name)
	p.registrations = slices.Insert(p.registrations, at, r)
	if len(p.registrations) > 1 {
		p.first[0] = nil // they have moved
	}
}

func (p *registrant) remove(r *Registration) {
	at, _ := p.search(r.namespace.name)
	p.registrations = shrink(slices.Delete(p.registrations, at, at+1))
}

// intern returns envelope as a string: the one that the peer registered last if the bytes
// are the same, or else a copy, which is then the last one.
func (p *registrant) intern(envelope []byte) string {
	if p.envelope != string(envelope) {
		p.envelope = string(envelope)
	}
	return p.envelope
}
