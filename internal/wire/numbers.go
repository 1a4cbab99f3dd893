package wire

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// numbers are the numbers that a protocol gives to types of messages and to fields.
type numbers struct {
	typ   number // the field of a message that holds its type
	parts [kinds]part

	register       registrationNumbers
	registerAnswer registerAnswerNumbers
	unregister     unregisterNumbers
	discover       queryNumbers
	discoverAnswer discoverAnswerNumbers

	// unsigned is set if TTLs and limits are uint64 rather than int64.
	unsigned bool
	// writeZeros is set if types and statuses are written also when they are 0.
	writeZeros bool
}

// part is what tells the messages of one kind from others. The zero part stands for a
// kind that a protocol does not have.
type part struct {
	typ   uint8  // the number of the type, below 128
	field number // the field with the contents, which are a message themselves
}

type registrationNumbers struct{ namespace, envelope, ttl number }

type registerAnswerNumbers struct {
	statusNumbers
	ttl number
}

type unregisterNumbers struct{ namespace number }

type queryNumbers struct{ namespace, limit, cookie number }

type discoverAnswerNumbers struct {
	registrations, cookie number
	statusNumbers
}

type statusNumbers struct{ status, text number }

// kind returns the kind of messages with a type. A message without a type has type 0.
func (n *numbers) kind(typ uint64) Kind {
	for k := range n.parts {
		if p := &n.parts[k]; p.field != 0 && int32(p.typ) == int32(typ) {
			return Kind(k)
		}
	}
	return Unknown
}

// has reports whether the protocol has messages of a kind.
func (n *numbers) has(k Kind) bool { return k < kinds && n.parts[k].field != 0 }

// integer returns the value of a TTL or a limit, at most the largest int64.
func (n *numbers) integer(v uint64) int64 {
	if n.unsigned && v > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(v)
}

// sizeHeader returns the size of a message without its part, which has size bytes.
func (n *numbers) sizeHeader(k Kind, size int) int {
	header := sizeBytes(size) - size
	if n.writesType(k) {
		header += 2
	}
	return header
}

// appendHeader appends what comes before a part of size bytes: the length of the
// message, its type, and the tag and length of the part.
func (n *numbers) appendHeader(dst []byte, k Kind, size int) []byte {
	p := n.parts[k]
	dst = protowire.AppendVarint(dst, uint64(n.sizeHeader(k, size)+size))
	if n.writesType(k) {
		dst = appendVarint(dst, n.typ, uint64(p.typ))
	}
	return appendLength(dst, p.field, size)
}

func (n *numbers) writesType(k Kind) bool { return n.writeZeros || n.parts[k].typ != 0 }

func (n *numbers) sizeStatus(status int32) int {
	if status == 0 && !n.writeZeros {
		return 0
	}
	return sizeVarint(uint64(status))
}

func (n *numbers) appendStatus(dst []byte, field number, status int32) []byte {
	if status == 0 && !n.writeZeros {
		return dst
	}
	return appendVarint(dst, field, uint64(status))
}
