package main

// Frames: messages with their length.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	rendezvous "github.com/status-im/go-waku-rendezvous"
	"github.com/status-im/go-waku-rendezvous/pb"
)

func encodeFrame(m *pb.Message) ([]byte, error) {
	var b bytes.Buffer
	_, err := protodelim.MarshalTo(&b, m)
	return b.Bytes(), err
}

func registerRequest(ns string, record []byte) ([]byte, error) {
	return encodeFrame(&pb.Message{
		Type: pb.Message_REGISTER,
		Register: &pb.Message_Register{
			Ns: ns, SignedPeerRecord: record, Ttl: int64(rendezvous.MaxTTL / time.Second),
		},
	})
}

func discoverRequest(ns string, limit int) ([]byte, error) {
	return encodeFrame(&pb.Message{
		Type:     pb.Message_DISCOVER,
		Discover: &pb.Message_Discover{Ns: ns, Limit: int64(limit)},
	})
}

// frameReader reads frames into a buffer that it reuses.
type frameReader struct {
	*bufio.Reader
	buf []byte
}

// next returns the message of the next frame, which is valid until the next call.
func (r *frameReader) next() ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	switch {
	case err != nil:
		return nil, err
	case n > 8<<20:
		return nil, fmt.Errorf("frame of %d bytes", n)
	case uint64(cap(r.buf)) < n:
		r.buf = make([]byte, n)
	}
	_, err = io.ReadFull(r, r.buf[:n])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return r.buf[:n], err
}

// checkOK returns an error unless a message is an answer with status OK.
func checkOK(message []byte) error {
	var m pb.Message
	if err := proto.Unmarshal(message, &m); err != nil {
		return err
	}
	var status pb.Message_ResponseStatus
	switch m.GetType() {
	case pb.Message_REGISTER_RESPONSE:
		status = m.GetRegisterResponse().GetStatus()
	case pb.Message_DISCOVER_RESPONSE:
		status = m.GetDiscoverResponse().GetStatus()
	default:
		return fmt.Errorf("unexpected message of type %s", m.GetType())
	}
	if status != pb.Message_OK {
		return fmt.Errorf("the point refused: %s", status)
	}
	return nil
}
