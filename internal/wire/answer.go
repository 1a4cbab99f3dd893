package wire

import "strings"

// Answer is a message from a rendezvous point. Kind says which of the other fields is
// meant. A point may also send a message of another kind in an answer's place.
type Answer struct {
	Kind     Kind
	Register RegisterAnswer
	Discover DiscoverAnswer
}

// RegisterAnswer is the part of a REGISTER_RESPONSE.
type RegisterAnswer struct {
	Present bool // whether there was one
	Status  int32
	Text    string // why it was refused
	TTL     int64  // granted, in seconds
}

// DiscoverAnswer is the part of a DISCOVER_RESPONSE.
type DiscoverAnswer struct {
	Present       bool // whether there was one
	Status        int32
	Text          string // why it was refused
	Cookie        []byte // for the next request
	Registrations []Registration
}

func (a *Answer) parse(n *numbers, message []byte, limit int) error {
	*a = Answer{Kind: n.kind(0), Discover: DiscoverAnswer{Registrations: a.Discover.Registrations[:0]}}
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.isVarint(n.typ):
			a.Kind = n.kind(f.varint)
		case f.isBytes(n.parts[RegisterResponse].field):
			f.err = a.Register.parse(n, f.bytes)
		case f.isBytes(n.parts[DiscoverResponse].field):
			f.err = a.Discover.parse(n, f.bytes, limit)
		}
	}
	return f.err
}

func (a *RegisterAnswer) parse(n *numbers, b []byte) error {
	a.Present = true
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.isVarint(n.registerAnswer.status):
			a.Status = int32(f.varint)
		case f.isBytes(n.registerAnswer.text):
			a.Text = string(f.text())
		case f.isVarint(n.registerAnswer.ttl):
			a.TTL = n.integer(f.varint)
		}
	}
	return f.err
}

func (a *DiscoverAnswer) parse(n *numbers, b []byte, limit int) error {
	a.Present = true
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.isBytes(n.discoverAnswer.registrations):
			var r Registration
			if f.err = r.parse(n, f.bytes); f.err == nil && len(a.Registrations) < limit {
				a.Registrations = append(a.Registrations, r)
			}
		case f.isBytes(n.discoverAnswer.cookie):
			a.Cookie = f.bytes
		case f.isVarint(n.discoverAnswer.status):
			a.Status = int32(f.varint)
		case f.isBytes(n.discoverAnswer.text):
			a.Text = string(f.text())
		}
	}
	return f.err
}

func appendRegistered(dst []byte, n *numbers, ttl int64) []byte {
	dst = n.appendHeader(dst, RegisterResponse, n.sizeStatus(0)+sizeVarint(uint64(ttl)))
	dst = n.appendStatus(dst, n.registerAnswer.status, 0)
	return appendVarint(dst, n.registerAnswer.ttl, uint64(ttl))
}

func appendRefusal(dst []byte, n *numbers, request Kind, status int32, text string) []byte {
	var answer Kind
	var s statusNumbers
	switch request {
	case Register:
		answer, s = RegisterResponse, n.registerAnswer.statusNumbers
	case Discover:
		answer, s = DiscoverResponse, n.discoverAnswer.statusNumbers
	default:
		return dst
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	dst = n.appendHeader(dst, answer, n.sizeStatus(status)+sizeBytesIf(s.text, len(text)))
	dst = n.appendStatus(dst, s.status, status)
	return appendBytesIf(dst, s.text, text)
}
