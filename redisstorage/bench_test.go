package redisstorage

// How fast it is, with server and load on the same machine, beside what
// redis-benchmark says of the same server in the same run.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	benchPeers   = 100_000
	benchCallers = 256
)

var quota = rendezvous.Quota{PerPeer: 1000, Total: 1_000_000}

func BenchmarkRedis(b *testing.B)  { benchmarkNode(b, "redis-server") }
func BenchmarkValkey(b *testing.B) { benchmarkNode(b, "valkey-server") }

func BenchmarkCluster(b *testing.B) {
	c := startCluster(b, "redis-server")
	benchmark(b, c, c.url())
}

func benchmarkNode(b *testing.B, program string) {
	node := startServer(b, program)
	sets := redisBenchmark(b, node)
	benchmark(b, cluster{node}, node.url(), func(b *testing.B) {
		b.ReportMetric(rate(b)/sets, "of-SET")
	})
	for _, each := range []int{1, 4} {
		used := memory(b, program, each)
		b.Run(fmt.Sprintf("Memory/EachPeerIn=%d", each), func(b *testing.B) {
			b.ReportMetric(used/benchPeers, "B/registration")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// memory returns how much memory benchPeers registrations take a new server.
func memory(b *testing.B, program string, each int) float64 {
	node := startServer(b, program)
	s := open(b, node.url())
	before := info(b, node, "used_memory")
	fill(b, s, each)
	return info(b, node, "used_memory") - before
}

// benchmark measures with benchPeers registrations held; what Add has besides is
// reported by more.
func benchmark(b *testing.B, servers cluster, url string, more ...func(*testing.B)) {
	s := open(b, url)
	fill(b, s, 1)
	b.Run("Add", func(b *testing.B) {
		var next atomic.Int64
		parallel(b, servers, func() error { return s.Add(b.Context(), benchRecord(int(next.Add(1))%benchPeers, 1), quota) })
		for _, report := range more {
			report(b)
		}
	})
	// Who is new is appended, and who has ended is taken out on the way.
	b.Run("AddNew", func(b *testing.B) {
		var next atomic.Int64
		parallel(b, servers, func() error {
			r := benchRecord(benchPeers+int(next.Add(1)), 1)
			r.Deadline = time.Now().Add(time.Second)
			return s.Add(b.Context(), r, quota)
		})
	})
	for _, k := range []int{1, 50} {
		b.Run(fmt.Sprintf("Sample/%d", k), func(b *testing.B) {
			parallel(b, servers, func() error {
				got, err := s.Sample(b.Context(), "ns0", k)
				if err == nil && len(got) != k {
					err = fmt.Errorf("sample of %d has %d", k, len(got))
				}
				return err
			})
		})
	}
}

// parallel measures f with benchCallers callers. Beside the rate, which is less
// where the machine has other things to do, it reports the processor time that an
// operation takes the servers, and this process.
func parallel(b *testing.B, servers cluster, f func() error) {
	b.SetParallelism(benchCallers / 2)
	theirs, ours := servers.processorTime(b), processorTime(b)
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
	b.ReportMetric(rate(b), "op/s")
	b.ReportMetric((servers.processorTime(b)-theirs)*1e6/float64(b.N), "server-µs/op")
	b.ReportMetric((processorTime(b)-ours)*1e6/float64(b.N), "client-µs/op")
	b.ReportMetric(0, "ns/op")
}

func (c cluster) processorTime(b *testing.B) (seconds float64) {
	for _, s := range c {
		seconds += info(b, s, "used_cpu_user") + info(b, s, "used_cpu_sys")
	}
	return seconds
}

func processorTime(b *testing.B) (seconds float64) {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	for _, t := range []syscall.Timeval{used.Utime, used.Stime} {
		seconds += float64(t.Sec) + float64(t.Usec)/1e6
	}
	return seconds
}

func rate(b *testing.B) float64 { return float64(b.N) / b.Elapsed().Seconds() }

// fill adds benchPeers registrations, so many for each peer.
func fill(b *testing.B, s *Storage, each int) {
	b.Helper()
	var wg sync.WaitGroup
	for w := range benchCallers {
		wg.Go(func() {
			for i := w; i < benchPeers; i += benchCallers {
				if err := s.Add(context.Background(), benchRecord(i, each), quota); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var benchEnvelope = bytes.Repeat([]byte{0xa5}, 250)

// benchRecord is registration i of many: peers have so many of them each.
func benchRecord(i, each int) rendezvous.Record {
	return rendezvous.Record{
		Namespace: fmt.Sprint("ns", i%each),
		Peer:      testPeer(i / each),
		Envelope:  benchEnvelope,
		Deadline:  time.Now().Add(5 * time.Minute),
	}
}

// testPeer is the ith of many peers, with the ID of an Ed25519 key.
func testPeer(i int) peer.ID {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return peer.ID("\x00\x24\x08\x01\x12\x20" + string(key[:]))
}

// redisBenchmark returns how many values of an envelope's size redis-benchmark sets
// in a second.
func redisBenchmark(b *testing.B, s *server) float64 {
	out := s.tool(b, "redis-benchmark", "-t", "set", "-d", "250", "-n", "200000", "-q")
	found := regexp.MustCompile(`([0-9.]+) requests per second`).FindAllStringSubmatch(out, -1)
	require.NotEmpty(b, found, out)
	rate, err := strconv.ParseFloat(found[len(found)-1][1], 64)
	require.NoError(b, err)
	return rate
}

func info(b *testing.B, s *server, name string) float64 {
	out := s.cli(b, "info")
	found := regexp.MustCompile(`(?m)^` + name + `:([0-9.]+)`).FindStringSubmatch(out)
	require.NotEmpty(b, found, out)
	value, err := strconv.ParseFloat(found[1], 64)
	require.NoError(b, err)
	return value
}
