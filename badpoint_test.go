package rendezvous

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// badPoints are ways in which a point could keep a client from registering at another one.
// Each answers a REGISTER.
var badPoints = map[string]func(t *testing.T, st network.Stream, m *pb.Message){
	"grants a second": func(t *testing.T, st network.Stream, m *pb.Message) {
		t.Helper()
		sending(t, registerResponse(time.Second))(st, m)
	},
	"takes its time": func(t *testing.T, st network.Stream, _ *pb.Message) {
		t.Helper()
		frame := frameOf(t, registerResponse(DefaultTTL))
		_, _ = st.Write(frame[:1])
		time.Sleep(4500 * time.Millisecond)
		_, _ = st.Write(frame[1:])
	},
	"has no room": func(t *testing.T, st network.Stream, m *pb.Message) {
		t.Helper()
		refusal := &pb.Message_RegisterResponse{Status: pb.Message_E_UNAVAILABLE}
		sending(t, &pb.Message{Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: refusal})(st, m)
	},
}

// TestSimulationBadPoint: a client registers in many namespaces at two points. Whatever
// the first one does, it is registered in all of them at the other one at every look, and
// sends it about as many requests as ever.
func TestSimulationBadPoint(t *testing.T) {
	for name, answer := range badPoints {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topics := 100
				if raceDetector {
					topics = 20
				}
				sim := newSimulation(t, 3, 10*time.Millisecond)
				s := testStorage(t)
				startPoint(t, sim.hosts[1], s)
				hostilePoint(sim.hosts[0], func(st network.Stream, m *pb.Message) {
					answer(t, st, m)
				})
				sent := &requestCount{at: sim.hosts[1].ID()}
				c := NewClient(sim.hosts[2], WithPoints(info(sim.hosts[0]), info(sim.hosts[1])), sent.option)
				all := namespaces(topics)
				ctx, cancel := context.WithCancel(t.Context())
				states, err := c.KeepRegistered(ctx, all...)
				require.NoError(t, err)
				time.Sleep(30 * time.Second)
				sent.registers.Store(0)
				fewest := topics
				for range 60 {
					time.Sleep(time.Second)
					fewest = min(fewest, registeredIn(t, sim.hosts[2].ID(), all, []Storage{s}))
				}
				perMinute := int(sent.registers.Load()) / topics
				t.Logf("a point that %s: registered at the other in %d of %d namespaces, with %d requests a minute for each", name, fewest, topics, perMinute)
				require.Equal(t, topics, fewest)
				require.LessOrEqual(t, perMinute, 7, "one each 9 to 12 seconds")
				cancel()
				for range states { // until all its goroutines have ended
				}
				time.Sleep(requestTimeout) // the point may still answer
			})
		})
	}
}
