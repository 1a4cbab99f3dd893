package points

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// maxTellAnswer bounds the bytes that are read after a message that has no answer.
const maxTellAnswer = 4 << 10

// Tell sends a message that has no answer, and waits until the point ends the stream, which it
// does when it has read the message. It returns an error, and sends nothing, if the point is in
// backoff. frame appends the message to dst in the protocol that the point speaks, or nothing
// if the protocol has no such message.
func (p *Point) Tell(ctx context.Context, frame func(dst []byte, id protocol.ID) []byte) error {
	if b := p.currentBackoff(); b.active(time.Now()) {
		return fmt.Errorf("in backoff: %w", b.err)
	}
	if err := p.pace.wait(ctx, true, 1); err != nil {
		return err
	}
	p.introduce()
	st, err := openStream(ctx, p.config, p.id, p.currentBackoff().failures)
	if err != nil {
		return fmt.Errorf("open stream: %w", becauseOf(ctx, err))
	}
	defer func() { _ = st.Reset() }()
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	message := frame(nil, st.Protocol())
	if len(message) == 0 {
		return nil
	}
	if _, err := st.Write(message); err != nil {
		return fmt.Errorf("send message: %w", becauseOf(ctx, err))
	}
	if err := st.CloseWrite(); err != nil {
		return fmt.Errorf("end stream: %w", becauseOf(ctx, err))
	}
	// A stream that is reset at once may take the message with it.
	if _, err := io.CopyN(io.Discard, st, maxTellAnswer); ctx.Err() != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the end of the stream: %w", ctx.Err())
	}
	return nil
}
