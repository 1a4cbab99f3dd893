package wire

import (
	"encoding/binary"
	"io"
	"slices"
)

// Found is a registration that an answer to DISCOVER is to contain.
type Found struct {
	Namespace string
	Envelope  []byte // the signed peer record; only read
	TTL       int32  // remaining seconds, not negative
	size      int32  // bytes of its Register message, once measured
}

func (r *Found) measure() {
	r.size = int32(sizeBytes(len(r.Namespace)) + sizeBytes(len(r.Envelope)) + sizeVarint(uint64(r.TTL)))
}

// maxHeader is the size of what comes before a Register message in an answer, at most.
const maxHeader = 1 + binary.MaxVarintLen32

func (r *Found) append(dst []byte, n *numbers) []byte {
	dst = appendLength(dst, n.discoverAnswer.registrations, int(r.size))
	dst = appendBytes(dst, n.register.namespace, r.Namespace)
	dst = appendBytes(dst, n.register.envelope, r.Envelope)
	return appendVarint(dst, n.register.ttl, uint64(r.TTL))
}

// foundWriter writes the frame of an answer through buf, a buffer at a time. An answer of
// any size takes no more memory than that, however slowly the peer reads it.
type foundWriter struct {
	out io.Writer
	buf []byte
}

func (w *foundWriter) write(found []Found, cookie []byte, n *numbers, maxFrame int) (sent int, err error) {
	end := n.sizeStatus(0) + sizeBytesIf(n.discoverAnswer.cookie, len(cookie))
	found, size := fit(found, maxFrame-overhead(n, maxFrame)-end)
	w.buf = n.appendHeader(w.buf[:0], DiscoverResponse, size+end)
	for some := range slices.Chunk(found, prefetched) {
		prefetch(some)
		for i := range some {
			if err := w.makeRoom(maxHeader + int(some[i].size)); err != nil {
				return 0, err
			}
			w.buf = some[i].append(w.buf, n)
		}
	}
	if err := w.makeRoom(end); err != nil {
		return 0, err
	}
	w.buf = appendBytesIf(w.buf, n.discoverAnswer.cookie, cookie)
	w.buf = n.appendStatus(w.buf, n.discoverAnswer.status, 0)
	if _, err := w.out.Write(w.buf); err != nil {
		return 0, err
	}
	return len(found), nil
}

// makeRoom empties the buffer if it has no room for size bytes.
func (w *foundWriter) makeRoom(size int) error {
	if len(w.buf)+size <= cap(w.buf) || len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// overhead returns how many bytes of a frame come before its registrations, at most.
func overhead(n *numbers, maxFrame int) int {
	return FrameSize(maxFrame) - maxFrame + n.sizeHeader(DiscoverResponse, maxFrame)
}

// fit measures registrations. It returns as many of them, from the front, as fit into
// limit bytes, and the bytes that they take.
func fit(found []Found, limit int) (fitting []Found, size int) {
	for i := range found {
		found[i].measure()
		with := size + sizeBytes(int(found[i].size))
		if with > limit {
			return found[:i], size
		}
		size = with
	}
	return found, size
}

// prefetched is how many envelopes are prefetched at a time. The processor can wait
// for that many at once, and they are still in its caches when they are copied.
const prefetched = 32

// prefetch reads a byte of each cache line of the envelopes, which are scattered
// over the memory. The processor loads many of them in parallel here. While they are
// copied, it would wait for one after the other.
//
//go:noinline
func prefetch(found []Found) (all byte) {
	const line = 64
	for i := range found {
		e := found[i].Envelope
		for at := 0; at < len(e); at += line {
			all ^= e[at]
		}
	}
	return all
}
