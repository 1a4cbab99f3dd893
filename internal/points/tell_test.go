package points

import (
	"bufio"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// TestTell: a message without an answer arrives, whatever the point does with the stream,
// and a point that does nothing costs no more than the caller's time.
func TestTell(t *testing.T) {
	goodbye := func(dst []byte, _ protocol.ID) []byte { return append(dst, "\x03bye"...) }
	for name, behave := range map[string]func(network.Stream, *bufio.Reader){
		"closes at EOF": func(st network.Stream, r *bufio.Reader) {
			_, _ = io.Copy(io.Discard, r)
			_ = st.Close()
		},
		"resets at EOF": func(st network.Stream, r *bufio.Reader) {
			_, _ = io.Copy(io.Discard, r)
			_ = st.Reset()
		},
		"closes at once": func(st network.Stream, _ *bufio.Reader) { _ = st.Close() },
		"resets at once": func(st network.Stream, _ *bufio.Reader) { _ = st.Reset() },
		"does nothing":   func(network.Stream, *bufio.Reader) {},
		"talks": func(st network.Stream, _ *bufio.Reader) {
			for {
				if _, err := st.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 1)
				p := b.set.Known()[0]
				heard := make(chan string, 1)
				b.hosts[0].SetStreamHandler(testProtocol, func(st network.Stream) {
					r := bufio.NewReader(st)
					message, err := wire.ReadFrame(r, nil, 100)
					if err == nil {
						heard <- string(message)
					}
					behave(st, r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begun := time.Now()
				err := p.Tell(ctx, goodbye)
				require.LessOrEqual(t, time.Since(begun), time.Second)
				require.Equal(t, "bye", <-heard)
				if name == "does nothing" {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.NoError(t, err)
				}
				synctest.Wait()
				for _, c := range b.client.Network().Conns() {
					for _, st := range c.GetStreams() {
						require.NotEqual(t, testProtocol, st.Protocol(), "a stream is left")
					}
				}
			})
		})
	}
}

// TestTellNothing: a point is told nothing if there is no such message in its protocol, and
// left alone if it is in backoff.
func TestTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		p := b.set.Known()[0]
		b.behave(func(network.Stream, *bufio.Reader) { t.Error("told something") }, p)
		require.NoError(t, p.Tell(t.Context(), func(dst []byte, _ protocol.ID) []byte { return dst }))
		synctest.Wait()

		b.behave(resetting, p)
		require.Error(t, sayHello(t.Context(), p))
		err := p.Tell(t.Context(), func(dst []byte, _ protocol.ID) []byte { return append(dst, "\x03bye"...) })
		require.ErrorContains(t, err, "in backoff")
	})
}
