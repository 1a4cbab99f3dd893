package main

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// TestWatchTellsSilence: watch says once that no point answers, and once that one does
// again.
func TestWatchTellsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		r := watchReport{out: &out, errOut: &errOut, printEvent: printEventText}
		var silent atomic.Bool
		events := make(chan rendezvous.Event)
		ended := make(chan error)
		go func() {
			ended <- r.run(events, func() error {
				if silent.Load() {
					return errors.New("connection refused")
				}
				return nil
			})
		}()
		events <- rendezvous.Event{Type: rendezvous.Joined, Peer: peer.AddrInfo{ID: "a peer"}}
		time.Sleep(10 * time.Second)
		silent.Store(true)
		time.Sleep(10 * time.Minute)
		silent.Store(false)
		time.Sleep(10 * time.Second)
		close(events)
		require.NoError(t, <-ended)
		require.Contains(t, out.String(), "+ ")
		require.Regexp(t, `^\S+  no point answers: connection refused\n\S+  a point answers again\n$`, errOut.String())
	})
}
