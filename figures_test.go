package rendezvous

// The figures in SECURITY.md of what an attacker can do at most.

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
)

// intruder is an attacker of some strength: identities at addresses.
type intruder struct {
	peers []peer.ID
	addrs []netip.Addr // of each peer
}

// intruders are those of the columns of the table: one identity, a thousand identities at
// one address, and a thousand in the /64s of an IPv6 /48.
func intruders() []intruder {
	all := make([]intruder, 3)
	for i := range 1000 {
		p := peer.ID(fmt.Sprint("intruder ", i))
		if i == 0 {
			all[0].add(p, netip.MustParseAddr("192.0.2.1"))
		}
		all[1].add(p, netip.MustParseAddr("192.0.2.1"))
		all[2].add(p, netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i<<6)))
	}
	return all
}

func (a *intruder) add(p peer.ID, addr netip.Addr) {
	a.peers, a.addrs = append(a.peers, p), append(a.addrs, addr)
}

func (a *intruder) caller(i int) *caller {
	addr := ma.StringCast(fmt.Sprintf("/%s/%s/tcp/1", map[bool]string{true: "ip4", false: "ip6"}[a.addrs[i].Is4()], a.addrs[i]))
	return &caller{peer: a.peers[i], addr: addr, ip: a.addrs[i], origin: limit.OriginOf(addr)}
}

// most returns how many units of a price an intruder gets out of a budget at once, and
// then per second. It asks as often as it can without being refused more than necessary.
func (a *intruder) most(b *limit.Budget, price float64) (atOnce, perSecond float64) {
	origins := make([]limit.Origin, len(a.peers))
	for i := range a.peers {
		origins[i] = a.caller(i).origin
	}
	take := func(now time.Time) (n float64) {
		for i, p := range a.peers {
			for b.Take(p, origins[i], price, now) {
				n++
			}
		}
		return n
	}
	const seconds, perStep = 20, 5
	now := time.Now()
	atOnce = take(now)
	taken := 0.0
	for range seconds * perStep {
		now = now.Add(time.Second / perStep)
		taken += take(now)
	}
	return atOnce, taken / seconds
}

// registrations returns how many registrations an intruder can have.
func (a *intruder) registrations(t *testing.T) float64 {
	t.Helper()
	s, n := testStorage(t), 0
	for i, p := range a.peers {
		for ns := 0; ; ns++ {
			err := s.Add(t.Context(), Record{
				Namespace: fmt.Sprint(ns), Peer: p, Envelope: []byte("e"), Deadline: time.Now().Add(time.Hour), Origin: a.addrs[i],
			}, defaultServiceConfig().quota)
			if err != nil {
				break
			}
			n++
		}
	}
	return float64(n)
}

// unpaidRefreshes returns how many refreshes per second are not charged to an intruder's addresses,
// if it has as many registrations as it can, with the shortest TTL.
func (a *intruder) unpaidRefreshes(t *testing.T) (perSecond float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q, r := newTestRequests(t, testStorage(t)), registering("", []byte("e"))
		r.Register.TTL = 1
		register := func(i, ns int) error {
			r.Register.Namespace = []byte(strconv.Itoa(ns))
			return q.add(t.Context(), Record{
				Namespace: strconv.Itoa(ns), Peer: a.peers[i], Envelope: []byte("e"), Deadline: time.Now().Add(time.Second + grace), Origin: a.addrs[i],
			})
		}
		registered := make([]int, len(a.peers)) // namespaces of each peer
		callers := make([]*caller, len(a.peers))
		perPeer := max(1, 1000/len(a.peers)*16) // spread over the peers
		for i := range a.peers {
			callers[i] = a.caller(i)
			for registered[i] < perPeer && register(i, registered[i]) == nil {
				registered[i]++
			}
		}
		const seconds = 4
		served := 0
		for second := range seconds + 1 {
			time.Sleep(time.Second)
			for i := range a.peers {
				for ns := range registered[i] {
					r.Register.Namespace = []byte(strconv.Itoa(ns))
					k, verdict := q.charge(callers[i], r, time.Now())
					if verdict != limit.Serve {
						break // it has to wait
					}
					require.InDelta(t, limit.Refresh, q.price(callers[i], 1, &k), 0)
					require.NoError(t, register(i, ns))
					if second > 0 { // the burst is used up
						served++
					}
				}
			}
		}
		perSecond = float64(served) / seconds
	})
	return perSecond
}

// TestFigures: an attacker can do at most what SECURITY.md says. The last column, of a
// thousand addresses, is a thousand times that of one, but within the limits of the point.
func TestFigures(t *testing.T) {
	config := defaultServiceConfig()
	figures := make(map[string][]float64)
	for _, a := range intruders() {
		record := func(name string, figure float64) { figures[name] = append(figures[name], figure) }
		atOnce, perSecond := a.most(limit.NewBudget(config.rate, float64(config.burst)), limit.Request)
		record("requests at once", atOnce)
		record("requests per second", perSecond)
		_, perSecond = a.most(limit.NewBudget(config.rate, float64(config.burst)), limit.Request+limit.RecordCheck(p521(t).GetPublic(), 0))
		record("P-521 signatures checked per second", perSecond)
		record("refreshes per second that are not charged to an address", a.unpaidRefreshes(t))
		const kib = 64 << 10
		atOnce, perSecond = a.most(limit.NewBudget(float64(config.egress), float64(config.egressBurst)), kib)
		record("MiB of answers at once", atOnce*kib/(1<<20))
		record("MiB of answers per second", perSecond*kib/(1<<20))
		registrations := a.registrations(t)
		record("live registrations", registrations)
		record("of the places of a full point, in percent", 100*registrations/float64(config.quota.Total))
		record("MiB of registrations", min(registrations*(MaxNamespaceSize+64+8<<10), float64(config.quota.Bytes))/(1<<20))
	}
	ceilings := map[string]float64{"MiB of registrations": float64(config.quota.Bytes) / (1 << 20)}
	for name := range figures {
		if ceilings[name] == 0 {
			ceilings[name] = math.Inf(1)
		}
	}
	doc, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	for name, want := range figures {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \| (.*) \|$`).FindSubmatch(doc)
		require.NotNil(t, row, "SECURITY.md has no row of %s; all figures are %v", name, figures)
		cells := strings.Split(string(row[1]), " | ")
		require.Len(t, cells, 4, name)
		for i, cell := range cells {
			got, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
			require.NoError(t, err, name)
			most := min(1000*want[1], ceilings[name])
			if i < len(want) {
				most = want[i]
			}
			require.InEpsilon(t, most, got, 0.02, "%s, column %d: %v", name, i+1, want)
		}
	}
}

// TestFiguresOfLasting: so many addresses fill the half of a point that is for lasting
// registrations as SECURITY.md says. The test has a hundredth of the default limits.
func TestFiguresOfLasting(t *testing.T) {
	q := defaultServiceConfig().quota
	q = Quota{PerPeer: q.PerPeer / 100, PerOrigin: q.PerOrigin / 100, Total: q.Total / 100, Bytes: q.Bytes / 100}
	ip4 := func(n, _ int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}) }
	ip6 := func(n, i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", n, i<<8)) } // each in a /56 of its own
	doc, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	for name, size := range map[string]int{"records of any size": 1, "the largest records": 8 << 10} {
		row := fmt.Sprintf("\n| %s | %d | %d |\n", name, addressesForHalf(t, q, size, ip4), addressesForHalf(t, q, size, ip6))
		require.True(t, strings.Contains(string(doc), row), "SECURITY.md needs the row %s", row) //nolint:testifylint // Contains prints all of the document
	}
}

// addressesForHalf returns how many addresses, or networks, fill the half for lasting
// registrations with records of a size. After that, others can refresh a lasting registration
// and make one that is no longer than fresh, but no lasting one.
func addressesForHalf(t *testing.T, q Quota, size int, address func(network, peer int) netip.Addr) int {
	t.Helper()
	s := testStorage(t)
	add := func(p string, from netip.Addr, life time.Duration) error {
		now := time.Now()
		return s.Add(t.Context(), Record{
			Namespace: strings.Repeat("n", MaxNamespaceSize), Peer: peer.ID(p), Envelope: make([]byte, size),
			Origin: from, Fresh: now.Add(freshTime), Deadline: now.Add(life),
		}, q)
	}
	victim := netip.MustParseAddr("198.51.100.1")
	require.NoError(t, add("early", victim, MaxStandardTTL))
	for network := 0; ; network++ {
		for i := 0; ; i++ {
			err := add(fmt.Sprint(network, " ", i), address(network, i), MaxStandardTTL)
			if errors.Is(err, ErrOriginLimit) {
				break
			}
			if err != nil {
				require.ErrorIs(t, err, ErrFull)
				require.ErrorIs(t, add("late to come", victim, MaxStandardTTL), ErrFull)
				require.NoError(t, add("late to come", victim, freshTime))
				require.NoError(t, add("early", victim, MaxStandardTTL))
				return network + min(i, 1)
			}
		}
	}
}
