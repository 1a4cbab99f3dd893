package main

// The floor: what it costs libp2p to carry the same bytes there and back.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// echoID is as long as the protocol's own, and so takes as long to negotiate.
const echoID protocol.ID = "/vac/waku/rendezvous/0.0.0"

// echo answers every frame with the same bytes, in one write. It has no deadline,
// no limit and no opinion. Its buffers are pooled: a dearer floor would flatter us.
type echo struct{ answer atomic.Pointer[reply] }

// reply is a message, and the same with its length before it.
type reply struct{ message, frame []byte }

// set makes message what is given from now on.
func (e *echo) set(message []byte) {
	f := append(binary.AppendUvarint(nil, uint64(len(message))), message...)
	e.answer.Store(&reply{message: slices.Clone(message), frame: f})
}

type frameReader struct {
	*bufio.Reader
	frame []byte
}

var frameReaders = sync.Pool{
	New: func() any { return &frameReader{Reader: bufio.NewReaderSize(nil, 1<<10)} },
}

func (e *echo) handle(st network.Stream) {
	in := frameReaders.Get().(*frameReader)
	defer frameReaders.Put(in)
	in.Reset(st)
	for {
		if _, err := in.next(); err != nil {
			break
		}
		if _, err := st.Write(e.answer.Load().frame); err != nil {
			break
		}
	}
	_ = st.Close()
}

// next returns the bytes of the next frame, without their length.
func (r *frameReader) next() ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return nil, err
	case n > 8<<20:
		return nil, fmt.Errorf("frame of %d bytes", n)
	case uint64(cap(r.frame)) < n:
		r.frame = make([]byte, n)
	}
	_, err = io.ReadFull(r, r.frame[:n])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return r.frame[:n], err
}
