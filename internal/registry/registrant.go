package registry

import (
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

func newRegistrant(id peer.ID) *registrant {
	return &registrant{id: peer.ID(strings.Clone(string(id)))}
}

// hasFirst reports whether first is a registration that the registry holds. If so, it
// is in the wheel.
func (p *registrant) hasFirst() bool { return p.first.next != nil }

// empty reports whether the peer has no registrations.
func (p *registrant) empty() bool { return !p.hasFirst() && p.more == nil }

// others returns all registrations but first.
func (p *registrant) others() []*registration {
	if p.more == nil {
		return nil
	}
	return *p.more
}

// all returns a copy of the list of all registrations.
func (p *registrant) all() []*registration {
	if p == nil {
		return nil
	}
	var all []*registration
	if p.hasFirst() {
		all = append(all, &p.first)
	}
	return append(all, p.others()...)
}

// newRegistration returns memory for another registration.
func (p *registrant) newRegistration() *registration {
	if p.first.namespace == nil {
		return &p.first
	}
	return new(registration)
}

// search returns where in more the registration in a namespace is, or else belongs.
func (p *registrant) search(namespace string) (at int, found bool) {
	return slices.BinarySearchFunc(p.others(), namespace, func(r *registration, namespace string) int {
		return strings.Compare(r.namespace.name, namespace)
	})
}

// find returns the registration in a namespace, or nil.
func (p *registrant) find(namespace string) *registration {
	if p == nil {
		return nil
	}
	if p.hasFirst() && p.first.namespace.name == namespace {
		return &p.first
	}
	at, found := p.search(namespace)
	if !found {
		return nil
	}
	return p.others()[at]
}

// live reports whether at least n registrations, one or more, are live at now.
func (p *registrant) live(now int64, n int) bool {
	if p == nil || len(p.others())+1 < n {
		return false
	}
	if p.hasFirst() && p.first.deadline > now {
		n--
	}
	for _, r := range p.others() {
		if r.deadline > now {
			n--
		}
	}
	return n <= 0
}

// add adds r, which is in the wheel, and which newRegistration returned.
func (p *registrant) add(r *registration) {
	if r == &p.first {
		return
	}
	if p.more == nil {
		p.more = new([]*registration)
	}
	at, _ := p.search(r.namespace.name)
	*p.more = slices.Insert(*p.more, at, r)
}

// remove removes r, which is no longer in the wheel.
func (p *registrant) remove(r *registration) {
	if r == &p.first {
		return
	}
	if len(*p.more) == 1 {
		p.more = nil
		return
	}
	at, _ := p.search(r.namespace.name)
	*p.more = shrink(slices.Delete(*p.more, at, at+1))
}

// intern returns envelope as a string: the one that the peer registered last if the bytes
// are the same, or else a copy, which is then the last one.
func (p *registrant) intern(envelope []byte) string {
	if p.envelope != string(envelope) {
		p.envelope = string(envelope)
	}
	return p.envelope
}
