package main

// The baseline: what it costs libp2p to carry the same bytes back and forth.

import (
	"bufio"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// echoID is as long as the ID of the rendezvous protocol, so negotiating it takes as long.
const echoID protocol.ID = "/vac/waku/rendezvous/0.0.0"

// echo answers every frame with the same answer, in a single write. It has no deadlines
// and no limits. Its buffers are pooled, because a slow baseline would flatter the point.
type echo struct{ answer atomic.Pointer[echoAnswer] }

type echoAnswer struct {
	message []byte
	frame   []byte // the message with its length
}

// set sets the answer.
func (e *echo) set(message []byte) {
	f := append(binary.AppendUvarint(nil, uint64(len(message))), message...)
	e.answer.Store(&echoAnswer{message: slices.Clone(message), frame: f})
}

// size returns the length of the answer's message.
func (e *echo) size() int { return len(e.answer.Load().message) }

// frameSize returns the length of the answer's frame.
func (e *echo) frameSize() int { return len(e.answer.Load().frame) }

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
