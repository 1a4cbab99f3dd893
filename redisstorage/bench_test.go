package redisstorage

// Benchmarks, with the server and the load on one machine. BenchmarkRedis and
// BenchmarkValkey compare Add with what redis-benchmark measures on the same server.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	benchPeers = 100_000
	// memoryPeers are enough to measure the memory of one: a hash table doubles as it grows, so
	// it is as full as with benchPeers.
	memoryPeers  = benchPeers / 4
	benchCallers = 256
)

func BenchmarkRedis(b *testing.B)  { benchmarkNode(b, "redis-server") }
func BenchmarkValkey(b *testing.B) { benchmarkNode(b, "valkey-server") }

func BenchmarkCluster(b *testing.B) {
	c := startCluster(b, "redis-server")
	benchmark(b, c, c.url())
}

func benchmarkNode(b *testing.B, program string) {
	node := startServer(b, program)
	setsPerSecond := redisBenchmark(b, node)
	benchmark(b, cluster{node}, node.url(), func(b *testing.B) {
		b.ReportMetric(perSecond(b)/setsPerSecond, "of-SET")
	})
	for name, r := range map[string]func(int) rendezvous.Record{
		"PerPeer=1": func(i int) rendezvous.Record { return benchRecord(i, 1) },
		"PerPeer=4": func(i int) rendezvous.Record { return benchRecord(i, 4) },
		"IPv4":      func(i int) rendezvous.Record { return benchOrigin(i, [4]byte{10}) },
		"IPv6":      func(i int) rendezvous.Record { return benchOrigin(i, [16]byte{0x20, 0x01}) },
		"Ordered":   func(i int) rendezvous.Record { return benchRecord(i, 1) },
	} {
		used := sync.OnceValue(func() float64 { return memory(b, program, r, name == "Ordered") })
		b.Run("Memory/"+name, func(b *testing.B) {
			b.ReportMetric(used()/memoryPeers, "B/registration")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// benchOrigin returns the registration with number i, from an address, or /48, that no other
// has.
func benchOrigin[A [4]byte | [16]byte](i int, addr A) rendezvous.Record {
	r := benchRecord(i, 1)
	switch a := any(addr).(type) {
	case [4]byte:
		binary.BigEndian.PutUint16(a[2:], uint16(i))
		a[1] = byte(i >> 16)
		r.Origin = netip.AddrFrom4(a)
	case [16]byte:
		binary.BigEndian.PutUint32(a[2:], uint32(i))
		r.Origin = netip.AddrFrom16(a)
	}
	return r
}

// memory returns how many bytes memoryPeers registrations take on a new server, which may keep
// their order.
func memory(b *testing.B, program string, record func(i int) rendezvous.Record, ordered bool) float64 {
	node := startServer(b, program)
	s := open(b, node.url())
	if ordered {
		_, _, err := s.Page(b.Context(), "", rendezvous.KindPeerRecord, "", 0, 0)
		require.NoError(b, err)
	}
	before := infoNumber(b, node, "used_memory")
	fill(b, s, memoryPeers, record)
	return infoNumber(b, node, "used_memory") - before
}

// benchmark measures a registry of benchPeers registrations. The functions in more report
// further metrics of Add.
func benchmark(b *testing.B, servers cluster, url string, more ...func(*testing.B)) {
	s := open(b, url)
	fill(b, s, benchPeers, func(i int) rendezvous.Record { return benchOrigin(i, [4]byte{10}) })
	b.Run("Add", func(b *testing.B) {
		var next atomic.Int64
		parallel(b, servers, func() error {
			return s.Add(b.Context(), benchOrigin(int(next.Add(1))%benchPeers, [4]byte{10}), largeQuota)
		})
		for _, report := range more {
			report(b)
		}
	})
	// Registrations that expire after a second, so they are purged along the way.
	b.Run("AddNew", func(b *testing.B) {
		var next atomic.Int64
		parallel(b, servers, func() error {
			r := benchOrigin(benchPeers+int(next.Add(1)), [4]byte{10})
			r.Deadline = time.Now().Add(time.Second)
			return s.Add(b.Context(), r, largeQuota)
		})
	})
	for _, k := range []int{1, 50} {
		b.Run(fmt.Sprintf("Sample/%d", k), func(b *testing.B) {
			parallel(b, servers, func() error {
				got, err := s.Sample(b.Context(), "ns0", k, 0)
				if err == nil && len(got) != k {
					err = fmt.Errorf("got a sample of %d, want %d", len(got), k)
				}
				return err
			})
		})
	}
	// From here on, the order is kept.
	_, _, err := s.Page(b.Context(), "ns0", rendezvous.KindPeerRecord, "", 0, 0)
	require.NoError(b, err)
	b.Run("AddOrdered", func(b *testing.B) {
		var next atomic.Int64
		parallel(b, servers, func() error {
			return s.Add(b.Context(), benchOrigin(int(next.Add(1))%benchPeers, [4]byte{10}), largeQuota)
		})
	})
	b.Run("Page/1000", func(b *testing.B) { benchmarkPages(b, servers, s, benchPeers) })
}

// benchmarkPages measures pages of 1000 in a namespace of n registrations, one after the other.
func benchmarkPages(b *testing.B, servers cluster, s *Storage, n int) {
	const size = 1000
	var cursor rendezvous.Cursor
	seen := 0
	serverBefore, clientBefore := servers.cpuSeconds(b), cpuSeconds(b)
	b.ResetTimer()
	for b.Loop() {
		got, next, err := s.Page(b.Context(), "ns0", rendezvous.KindPeerRecord, cursor, size, 0)
		if err != nil || len(got) != size {
			b.Fatalf("got a page of %d, want %d: %v", len(got), size, err)
		}
		cursor = next
		if seen += size; seen >= n {
			cursor, seen = "", 0
		}
	}
	b.StopTimer()
	b.ReportMetric((servers.cpuSeconds(b)-serverBefore)*1e6/float64(b.N), "server-µs/op")
	b.ReportMetric((cpuSeconds(b)-clientBefore)*1e6/float64(b.N), "client-µs/op")
}

// BenchmarkPage compares pages of few and of many registrations, and measures the first Page,
// which puts all into the order.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			node := startServer(b, "redis-server")
			s := open(b, node.url())
			fillWith(b, node, s.shards[0], "ns0", 0, n, time.Now().Add(20*time.Minute), 60_000)
			began := time.Now()
			_, _, err := s.Page(b.Context(), "ns0", rendezvous.KindPeerRecord, "", 1, 0)
			require.NoError(b, err)
			first := time.Since(began)
			benchmarkPages(b, cluster{node}, s, n)
			b.ReportMetric(first.Seconds(), "first-s")
		})
	}
}

// parallel measures f with benchCallers callers. It reports the rate, which depends on
// what else the machine does, and the CPU time per operation of the servers and of this
// process.
func parallel(b *testing.B, servers cluster, f func() error) {
	b.SetParallelism(benchCallers / 2)
	serverBefore, clientBefore := servers.cpuSeconds(b), cpuSeconds(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(perSecond(b), "op/s")
	b.ReportMetric((servers.cpuSeconds(b)-serverBefore)*1e6/float64(b.N), "server-µs/op")
	b.ReportMetric((cpuSeconds(b)-clientBefore)*1e6/float64(b.N), "client-µs/op")
	b.ReportMetric(0, "ns/op")
}

// cpuSeconds returns the CPU time that the servers have used.
func (c cluster) cpuSeconds(b *testing.B) (seconds float64) {
	for _, s := range c {
		seconds += infoNumber(b, s, "used_cpu_user") + infoNumber(b, s, "used_cpu_sys")
	}
	return seconds
}

func perSecond(b *testing.B) float64 { return float64(b.N) / b.Elapsed().Seconds() }

// fill adds n registrations.
func fill(b *testing.B, s *Storage, n int, record func(i int) rendezvous.Record) {
	b.Helper()
	var wg sync.WaitGroup
	for caller := range benchCallers {
		wg.Go(func() {
			for i := caller; i < n; i += benchCallers {
				if err := s.Add(context.Background(), record(i), largeQuota); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var benchEnvelope = bytes.Repeat([]byte{0xa5}, 250)

// benchRecord returns the registration with number i, with perPeer of them for each peer.
func benchRecord(i, perPeer int) rendezvous.Record {
	return rendezvous.Record{
		Namespace: fmt.Sprint("ns", i%perPeer),
		Peer:      testPeer(i / perPeer),
		Envelope:  benchEnvelope,
		Deadline:  time.Now().Add(5 * time.Minute),
	}
}

// redisBenchmark returns how many SETs of an envelope's size per second redis-benchmark
// measures.
func redisBenchmark(b *testing.B, s *server) float64 {
	out := s.tool(b, "redis-benchmark", "-t", "set", "-d", "250", "-n", "200000", "-q")
	found := regexp.MustCompile(`([0-9.]+) requests per second`).FindAllStringSubmatch(out, -1)
	require.NotEmpty(b, found, out)
	perSecond, err := strconv.ParseFloat(found[len(found)-1][1], 64)
	require.NoError(b, err)
	return perSecond
}

func infoNumber(b *testing.B, s *server, field string) float64 {
	n, err := strconv.ParseFloat(s.info(b, field), 64)
	require.NoError(b, err)
	return n
}
