package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/multiformats/go-varint"
)

// ReadFrame reads a frame and returns its message of at most limit bytes, in buf or in
// a larger buffer. The error is io.EOF itself only where the stream ends between two
// frames.
func ReadFrame(r *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	size, err := ReadSize(r, limit)
	if err != nil {
		return nil, err
	}
	return ReadBody(r, buf, size)
}

// ReadSize reads the length of a message, which is limit bytes at most. The error is
// io.EOF itself only where the stream ends between two frames.
func ReadSize(r *bufio.Reader, limit int) (int, error) {
	n, err := varint.ReadUvarint(r)
	switch {
	case errors.Is(err, varint.ErrOverflow), errors.Is(err, varint.ErrNotMinimal):
		return 0, fmt.Errorf("%w: unreadable message length: %w", ErrProtocol, err)
	case err != nil:
		return 0, err
	case n > uint64(limit):
		return 0, fmt.Errorf("%w: message of %d bytes, at most %d are allowed", ErrProtocol, n, limit)
	}
	return int(n), nil
}

// ReadBody reads a message of size bytes and returns it in buf, or in a larger buffer,
// which grows as the message arrives: a length alone takes no memory.
func ReadBody(r *bufio.Reader, buf []byte, size int) ([]byte, error) {
	const step = 4 << 10

	buf = buf[:0]
	for len(buf) < size {
		have := len(buf)
		next := min(size, max(step, 2*have))
		buf = slices.Grow(buf, next-have)[:next]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

// FrameSize returns how many bytes the frame of a message of n bytes has.
func FrameSize(n int) int { return n + varint.UvarintSize(uint64(n)) }
