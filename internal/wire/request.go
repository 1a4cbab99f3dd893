package wire

// Request is a message to a rendezvous point. Kind says which of the other fields is
// meant. A peer may also send a message of another kind in a request's place.
type Request struct {
	Kind       Kind
	Register   Registration
	Discover   Query
	Unregister []byte // namespace
}

// Query is what a DISCOVER asks.
type Query struct {
	Namespace []byte // UTF-8; empty: all namespaces
	Cookie    []byte // from an earlier answer; empty: none
	Limit     int64  // registrations; 0: the point's maximum
}

func (r *Request) parse(n *numbers, message []byte) error {
	*r = Request{Kind: n.kind(0)}
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.isVarint(n.typ):
			r.Kind = n.kind(f.varint)
		case f.isBytes(n.parts[Register].field):
			f.err = r.Register.parse(n, f.bytes)
		case f.isBytes(n.parts[Discover].field):
			f.err = r.Discover.parse(n, f.bytes)
		case f.isBytes(n.parts[Unregister].field):
			f.err = r.parseUnregister(n, f.bytes)
		}
	}
	return f.err
}

func (r *Request) parseUnregister(n *numbers, b []byte) error {
	f := fields{rest: b}
	for f.next() {
		if f.isBytes(n.unregister.namespace) {
			r.Unregister = f.text()
		}
	}
	return f.err
}

func (q *Query) parse(n *numbers, b []byte) error {
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.isBytes(n.discover.namespace):
			q.Namespace = f.text()
		case f.isVarint(n.discover.limit):
			q.Limit = n.integer(f.varint)
		case f.isBytes(n.discover.cookie):
			q.Cookie = f.bytes
		}
	}
	return f.err
}

func (r *Request) append(dst []byte, n *numbers) []byte {
	if !n.has(r.Kind) {
		return dst
	}
	switch r.Kind {
	case Register:
		dst = n.appendHeader(dst, Register, r.Register.size(n))
		return r.Register.append(dst, n)
	case Discover:
		dst = n.appendHeader(dst, Discover, r.Discover.size(n))
		return r.Discover.append(dst, n)
	case Unregister:
		dst = n.appendHeader(dst, Unregister, sizeBytesIf(n.unregister.namespace, len(r.Unregister)))
		return appendBytesIf(dst, n.unregister.namespace, r.Unregister)
	default:
		return dst
	}
}

func (q *Query) size(n *numbers) int {
	return sizeBytesIf(n.discover.namespace, len(q.Namespace)) +
		sizeVarintIf(n.discover.limit, uint64(q.Limit)) +
		sizeBytesIf(n.discover.cookie, len(q.Cookie))
}

func (q *Query) append(dst []byte, n *numbers) []byte {
	dst = appendBytesIf(dst, n.discover.namespace, q.Namespace)
	dst = appendVarintIf(dst, n.discover.limit, uint64(q.Limit))
	return appendBytesIf(dst, n.discover.cookie, q.Cookie)
}
