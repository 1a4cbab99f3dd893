package main

// A client that only writes requests and reads the frames of answers, so that it costs as
// little as possible.

import (
	"bufio"
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// rawClient sends requests to one peer with one protocol, over a fresh stream for each
// request or over one stream that it keeps open.
type rawClient struct {
	host     host.Host
	peer     peer.ID
	protocol protocol.ID

	in   frameReader
	kept network.Stream // nil: fresh streams
}

func newRawClient(h host.Host, to peer.ID, id protocol.ID) *rawClient {
	return &rawClient{host: h, peer: to, protocol: id, in: frameReader{Reader: bufio.NewReaderSize(nil, 4<<10)}}
}

// keepStream opens a stream for all further requests.
func (c *rawClient) keepStream(ctx context.Context) error {
	st, err := c.open(ctx)
	c.kept = st
	return err
}

func (c *rawClient) close() {
	if c.kept != nil {
		_ = c.kept.Close()
	}
}

func (c *rawClient) open(ctx context.Context) (network.Stream, error) {
	st, err := c.host.NewStream(ctx, c.peer, c.protocol)
	if err == nil {
		c.in.Reset(st)
	}
	return st, err
}

// request sends a frame and returns the message of the answer, which is valid until the
// next request.
func (c *rawClient) request(ctx context.Context, frame []byte) ([]byte, error) {
	if c.kept != nil {
		if _, err := c.kept.Write(frame); err != nil {
			return nil, err
		}
		return c.in.next()
	}
	st, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.requestOnce(st, frame)
	if err != nil {
		_ = st.Reset()
		return nil, err
	}
	return answer, st.Close()
}

func (c *rawClient) requestOnce(st network.Stream, frame []byte) ([]byte, error) {
	if _, err := st.Write(frame); err != nil {
		return nil, err
	}
	if err := st.CloseWrite(); err != nil {
		return nil, err
	}
	return c.in.next()
}
