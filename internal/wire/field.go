package wire

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// number is that of a protobuf field, from 1 to 15, so that its tag is one byte. Zero
// stands for a field that a protocol does not have.
type number uint8

// fields reads a message field by field. It refuses a group when it sees the tag,
// because skipping one takes a stack frame for each level of nesting, and a level is
// one byte on the wire.
//
//	f := fields{rest: message}
//	for f.next() {
//		...
//	}
//	return f.err
type fields struct {
	rest []byte // of the message, after the field read last
	err  error  // ends the loop; may be set inside it

	num    protowire.Number
	typ    protowire.Type
	varint uint64 // the value of a varint
	bytes  []byte // the value of bytes, part of the message
}

// next reads a field. It returns false at the message's end, and after an error.
func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	num, typ, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		f.err = unreadable(protowire.ParseError(n))
		return false
	}
	if !num.IsValid() {
		f.err = errNumber
		return false
	}
	f.num, f.typ, f.rest = num, typ, f.rest[n:]
	switch typ {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(f.rest)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.rest)
	case protowire.Fixed32Type:
		_, n = protowire.ConsumeFixed32(f.rest)
	case protowire.Fixed64Type:
		_, n = protowire.ConsumeFixed64(f.rest)
	case protowire.StartGroupType, protowire.EndGroupType:
		f.err = errGroup
		return false
	default:
		f.err = errReserved
		return false
	}
	if n < 0 {
		f.err = unreadable(protowire.ParseError(n))
		return false
	}
	f.rest = f.rest[n:]
	return true
}

// isVarint reports whether the field has that number and is a varint.
func (f *fields) isVarint(n number) bool {
	return f.num == protowire.Number(n) && f.typ == protowire.VarintType
}

// isBytes reports whether the field has that number and is bytes, a text or a message.
func (f *fields) isBytes(n number) bool {
	return f.num == protowire.Number(n) && f.typ == protowire.BytesType
}

// text returns the bytes of a field that is a text. Other bytes are an error.
func (f *fields) text() []byte {
	if !utf8.Valid(f.bytes) {
		f.err = errNotUTF8
		return nil
	}
	return f.bytes
}

func sizeVarint(v uint64) int { return 1 + protowire.SizeVarint(v) }

func sizeBytes(n int) int { return 1 + protowire.SizeBytes(n) }

func appendVarint(dst []byte, n number, v uint64) []byte {
	dst = append(dst, byte(n)<<3|byte(protowire.VarintType))
	return binary.AppendUvarint(dst, v)
}

// appendLength appends what comes before a value of size bytes.
func appendLength(dst []byte, n number, size int) []byte {
	dst = append(dst, byte(n)<<3|byte(protowire.BytesType))
	return binary.AppendUvarint(dst, uint64(size))
}

func appendBytes[T string | []byte](dst []byte, n number, v T) []byte {
	return append(appendLength(dst, n, len(v)), v...)
}

// The following functions are for fields that are left out if they are zero or empty,
// or if the protocol does not have them.

func sizeVarintIf(n number, v uint64) int {
	if n == 0 || v == 0 {
		return 0
	}
	return sizeVarint(v)
}

func appendVarintIf(dst []byte, n number, v uint64) []byte {
	if n == 0 || v == 0 {
		return dst
	}
	return appendVarint(dst, n, v)
}

func sizeBytesIf(n number, size int) int {
	if n == 0 || size == 0 {
		return 0
	}
	return sizeBytes(size)
}

func appendBytesIf[T string | []byte](dst []byte, n number, v T) []byte {
	if n == 0 || len(v) == 0 {
		return dst
	}
	return appendBytes(dst, n, v)
}
