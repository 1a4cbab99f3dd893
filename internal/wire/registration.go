package wire

// Registration is a peer's registration as a REGISTER asks for it, or as an answer to
// DISCOVER lists it.
type Registration struct {
	Namespace []byte // UTF-8
	Envelope  []byte // the signed peer record
	TTL       int64  // seconds; 0 in a request: the point's default
}

// parse adds what b says to r, as protobuf merges messages.
func (r *Registration) parse(n *numbers, b []byte) error {
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.isBytes(n.register.namespace):
			r.Namespace = f.text()
		case f.isBytes(n.register.envelope):
			r.Envelope = f.bytes
		case f.isVarint(n.register.ttl):
			r.TTL = n.integer(f.varint)
		}
	}
	return f.err
}

func (r *Registration) size(n *numbers) int {
	return sizeBytesIf(n.register.namespace, len(r.Namespace)) +
		sizeBytesIf(n.register.envelope, len(r.Envelope)) +
		sizeVarintIf(n.register.ttl, uint64(r.TTL))
}

func (r *Registration) append(dst []byte, n *numbers) []byte {
	dst = appendBytesIf(dst, n.register.namespace, r.Namespace)
	dst = appendBytesIf(dst, n.register.envelope, r.Envelope)
	return appendVarintIf(dst, n.register.ttl, uint64(r.TTL))
}
