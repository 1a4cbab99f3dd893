package rendezvous

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// ownEnvelope returns a signed record of h.
func ownEnvelope(t testing.TB, h host.Host) []byte {
	t.Helper()
	return seal(t, h.Peerstore().PrivKey(h.ID()), h.ID(), addr)
}

// TestAuthorizer: the authorizer is asked about each valid request, with the data of the
// connection. Its refusal is E_NOT_AUTHORIZED on the wire.
func TestAuthorizer(t *testing.T) {
	point, member, stranger := newHost(t), newHost(t), newHost(t)
	asked := make(chan Request, 1)
	startPoint(t, point, testStorage(t), WithAuthorizer(func(_ context.Context, r Request) error {
		asked <- r
		if r.Namespace == "members" && r.Peer != member.ID() {
			return errors.New("not in the list at /var/secret")
		}
		return nil
	}))
	connect(t, member, point)
	connect(t, stranger, point)
	for _, test := range []struct {
		name string
		from host.Host
		ns   string
		want Status
	}{
		{"a member where only members may", member, "members", 0},
		{"a stranger where only members may", stranger, "members", pb.Message_E_NOT_AUTHORIZED},
		{"a stranger where all may", stranger, "all", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := openRaw(t, test.from, point.ID())
			r := st.ask(registerRequest(test.ns, ownEnvelope(t, test.from), 0)).GetRegisterResponse()
			require.Equal(t, test.want, r.GetStatus())
			require.NotContains(t, r.GetStatusText(), "secret")
			got := <-asked
			require.NotEmpty(t, got.Addr)
			require.Equal(t, Request{Peer: test.from.ID(), Addr: got.Addr, Register: true, Namespace: test.ns}, got)

			d := st.ask(discoverRequest(test.ns, 0)).GetDiscoverResponse()
			require.Equal(t, test.want, d.GetStatus())
			require.Equal(t, Request{Peer: test.from.ID(), Addr: got.Addr, Namespace: test.ns}, <-asked)
		})
	}
	t.Run("not asked about nonsense", func(t *testing.T) {
		st := openRaw(t, stranger, point.ID())
		require.Equal(t, pb.Message_E_INVALID_NAMESPACE, st.ask(registerRequest("", nil, 0)).GetRegisterResponse().GetStatus())
		require.Equal(t, pb.Message_E_INVALID_PEER_INFO, st.ask(registerRequest("members", nil, 0)).GetRegisterResponse().GetStatus())
		require.Equal(t, pb.Message_E_INVALID_TTL, st.ask(registerRequest("members", ownEnvelope(t, stranger), time.Minute)).GetRegisterResponse().GetStatus())
		require.Empty(t, asked)
	})
}

// TestAuthorizerHidesNamespaces: a request across all namespaces does not return
// registrations of namespaces that the peer may not see.
func TestAuthorizerHidesNamespaces(t *testing.T) {
	point, member, stranger := newHost(t), newHost(t), newHost(t)
	s := testStorage(t)
	startPoint(t, point, s, WithAuthorizer(func(_ context.Context, r Request) error {
		if r.Namespace == "members" && r.Peer != member.ID() {
			return errors.New("members only")
		}
		return nil
	}))
	fill(t, s, "members", 5)
	fill(t, s, "all", 3)
	for h, want := range map[host.Host]int{member: 8, stranger: 3} {
		connect(t, h, point)
		d := openRaw(t, h, point.ID()).ask(discoverRequest("", 0)).GetDiscoverResponse()
		require.Equal(t, pb.Message_OK, d.GetStatus())
		require.Len(t, d.GetRegistrations(), want)
	}
}

// TestAuthorizerTimesOut: an authorizer that is too slow causes a temporary refusal.
func TestAuthorizerTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := simHosts(t, 2)
		startPoint(t, hosts[0], testStorage(t), WithAuthorizer(func(ctx context.Context, _ Request) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		connect(t, hosts[1], hosts[0])
		st := openRaw(t, hosts[1], hosts[0].ID())
		begun := time.Now()
		require.Equal(t, pb.Message_E_UNAVAILABLE, st.ask(discoverRequest("n", 0)).GetDiscoverResponse().GetStatus())
		require.InDelta(t, requestTimeout.Seconds(), time.Since(begun).Seconds(), 1)
	})
}
