package main

// A client that writes a request and reads the answer's frame, and looks at
// nothing in it but the length.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// frame is m as it goes on the wire.
func frame(m *pb.Message) ([]byte, error) {
	var b bytes.Buffer
	_, err := protodelim.MarshalTo(&b, m)
	return b.Bytes(), err
}

// raw speaks to one point as one protocol, over fresh streams or a kept one.
type raw struct {
	host host.Host
	to   peer.ID
	as   protocol.ID

	in   frameReader
	kept network.Stream // where there is one
}

func newRaw(h host.Host, to peer.ID, as protocol.ID) *raw {
	return &raw{host: h, to: to, as: as, in: frameReader{Reader: bufio.NewReaderSize(nil, 4<<10)}}
}

// keep opens the stream that all requests then go over.
func (r *raw) keep(ctx context.Context) error {
	st, err := r.open(ctx)
	r.kept = st
	return err
}

func (r *raw) end() {
	if r.kept != nil {
		_ = r.kept.Close()
	}
}

func (r *raw) open(ctx context.Context) (network.Stream, error) {
	st, err := r.host.NewStream(ctx, r.to, r.as)
	if err == nil {
		r.in.Reset(st)
	}
	return st, err
}

// ask sends a request and returns the answer's frame, which is good until the next.
func (r *raw) ask(ctx context.Context, request []byte) ([]byte, error) {
	if r.kept != nil {
		if _, err := r.kept.Write(request); err != nil {
			return nil, err
		}
		return r.in.next()
	}
	st, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := r.once(st, request)
	if err != nil {
		_ = st.Reset()
		return nil, err
	}
	return answer, st.Close()
}

func (r *raw) once(st network.Stream, request []byte) ([]byte, error) {
	if _, err := st.Write(request); err != nil {
		return nil, err
	}
	if err := st.CloseWrite(); err != nil {
		return nil, err
	}
	return r.in.next()
}

// checkOK returns an error unless answer is a point's OK.
func checkOK(answer []byte) error {
	var m pb.Message
	if err := proto.Unmarshal(answer, &m); err != nil {
		return err
	}
	var status pb.Message_ResponseStatus
	switch m.GetType() {
	case pb.Message_REGISTER_RESPONSE:
		status = m.GetRegisterResponse().GetStatus()
	case pb.Message_DISCOVER_RESPONSE:
		status = m.GetDiscoverResponse().GetStatus()
	default:
		return errors.New("not an answer")
	}
	if status != pb.Message_OK {
		return fmt.Errorf("refused: %s", status)
	}
	return nil
}
