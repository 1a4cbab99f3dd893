// Command benchstorage measures what the storages cost as they fill, prints it as
// a table, and fails where a bar is not met:
//
//   - at a million registrations, Add and Sample(50) cost at most 3 times what they
//     cost at a thousand;
//   - a million registrations that end at once hold up no Add and no Sample for more
//     than 10 ms;
//   - a registration takes at most 300 bytes beside its envelope, and none once all
//     have ended, without anybody asking.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// envelopeSize is that of an Ed25519 peer's record with two addresses.
const envelopeSize = 224

var (
	million   = flag.Int("n", 1_000_000, "registrations that a full storage holds")
	lifetime  = flag.Duration("lifetime", 5*time.Minute, "long enough to fill a storage")
	costsOnly = flag.Bool("costs", false, "measure the costs of Add and Sample only")
	failed    bool
)

func main() {
	flag.Parse()
	fmt.Printf("%s, %d CPUs; envelopes of %d bytes\n\n", runtime.Version(), runtime.NumCPU(), envelopeSize)
	costs()
	if *costsOnly {
		return
	}
	memory("one namespace", *million, 1)
	memory("namespaces of ten", *million, *million/10)
	massExpiry()
	if failed {
		os.Exit(1)
	}
}

func bar(met bool, format string, args ...any) {
	verdict := "ok"
	if !met {
		verdict, failed = "NOT MET", true
	}
	fmt.Printf(format+"  %s\n", append(args, verdict)...)
}

// testPeer has an ID as those of Ed25519 keys.
func testPeer(i int) peer.ID {
	id := make([]byte, 6+ed25519.PublicKeySize)
	copy(id, "\x00\x24\x08\x01\x12\x20")
	x := uint64(i)
	for at := 6; at < len(id); at += 8 {
		x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
		binary.LittleEndian.PutUint64(id[min(at, len(id)-8):], x^x>>31)
	}
	return peer.ID(id)
}

// filler makes records without garbage of its own.
type filler struct {
	envelope   [envelopeSize]byte
	namespaces int
}

func (f *filler) record(i int, ends time.Time) rendezvous.Record {
	binary.LittleEndian.PutUint64(f.envelope[:], uint64(i))
	return rendezvous.Record{
		Namespace: fmt.Sprintf("/waku/2/namespace/%d", i%f.namespaces),
		Peer:      testPeer(i),
		Envelope:  f.envelope[:],
		Deadline:  ends,
	}
}

func (f *filler) fill(s rendezvous.Storage, n int, ends time.Time) {
	for i := range n {
		must(s.Add(context.Background(), f.record(i, ends), rendezvous.Quota{PerPeer: 1000, Total: 10 * *million}))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type cost struct{ add, refresh, change, random, sample time.Duration }

// costs compares a storage with a thousand registrations to one with a million.
func costs() {
	small, full := measure(1000), measure(*million)
	fmt.Printf("%-28s %12s %12s %7s\n", "memory, one namespace", "1000", fmt.Sprint(*million), "ratio")
	row := func(what string, a, b time.Duration) {
		ratio := float64(b) / float64(a)
		bar(ratio <= 3, "%-28s %12v %12v %7.2f", what, a, b, ratio)
	}
	row("Add, new", small.add, full.add)
	row("Add, refresh", small.refresh, full.refresh)
	row("Add, refresh, other record", small.change, full.change)
	fmt.Printf("%-28s %12v %12v %7.2f  (no bar: see docs)\n", "Add, refresh, random order",
		small.random, full.random, float64(full.random)/float64(small.random))
	row("Sample(50)", small.sample, full.sample)
	fmt.Println()
}

func measure(n int) cost {
	const ops = 100_000
	f := &filler{namespaces: 1}
	s := rendezvous.NewMemoryStorage()
	defer func() { _ = s.Close() }()
	ends := time.Now().Add(*lifetime)
	f.fill(s, n, ends)
	runtime.GC()
	ctx, quota := context.Background(), rendezvous.Quota{PerPeer: 1000, Total: 10 * *million}

	// What is measured is the storage, so the records are made beforehand.
	records := make([]rendezvous.Record, ops)
	prepare := func(pick func(i int) int, envelope uint64) {
		for i := range records {
			records[i] = f.record(pick(i), time.Now().Add(*lifetime))
			records[i].Envelope = slices.Clone(records[i].Envelope)
			binary.LittleEndian.PutUint64(records[i].Envelope[8:], envelope)
		}
	}
	add := func() time.Duration {
		return perOp(ops, func(i int) { must(s.Add(ctx, records[i], quota)) })
	}
	// Peers refresh at an interval, and so in the order in which they came. In a
	// random order each has to come out of main memory, from many places.
	inTurn := func(i int) int { return i % n }
	var c cost
	prepare(inTurn, 0)
	c.refresh = add()
	prepare(inTurn, rand.Uint64())
	c.change = add()
	prepare(func(int) int { return rand.IntN(n) }, 0)
	c.random = add()
	c.sample = perOp(ops, func(int) {
		_, err := s.Sample(ctx, "/waku/2/namespace/0", 50)
		must(err)
	})
	c.add = addNew(f, n, records)
	return c
}

// addNew adds to storages of n registrations a tenth on top of them, so that a small
// one stays small.
func addNew(f *filler, n int, records []rendezvous.Record) time.Duration {
	ctx, quota := context.Background(), rendezvous.Quota{PerPeer: 1000, Total: 10 * *million}
	more := min(n/10, len(records))
	best := time.Duration(1<<63 - 1)
	for range max(1, min(50, len(records)/more)) {
		s := rendezvous.NewMemoryStorage()
		f.fill(s, n, time.Now().Add(*lifetime))
		for i := range more {
			records[i] = f.record(n+i, time.Now().Add(*lifetime))
		}
		best = min(best, perOp(more, func(i int) { must(s.Add(ctx, records[i], quota)) }))
		must(s.Close())
	}
	return best
}

// perOp returns what one of many operations takes: of a hundred parts, the fastest,
// which others who use the machine have held up least.
func perOp(ops int, op func(i int)) time.Duration {
	const parts = 100
	runtime.GC()
	best := time.Duration(1<<63 - 1)
	for part := range min(parts, ops) {
		from, to := part*ops/min(parts, ops), (part+1)*ops/min(parts, ops)
		start := time.Now()
		for i := from; i < to; i++ {
			op(i)
		}
		best = min(best, time.Since(start)/time.Duration(to-from))
	}
	return best
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func memory(what string, n, namespaces int) {
	f := &filler{namespaces: namespaces}
	s := rendezvous.NewMemoryStorage()
	defer func() { _ = s.Close() }()
	empty := heap()
	start := time.Now()
	ends := start.Add(30 * time.Second)
	f.fill(s, n, ends)
	full := heap()
	each := (full - empty) / n
	bar(each-envelopeSize <= 300, "%-40s %6d bytes each beside the envelope", fmt.Sprintf("%d in %s", n, what), each-envelopeSize)
	left := full
	for range 10 { // seconds; a busy machine takes its time
		time.Sleep(time.Until(ends) + 2*time.Second)
		if left = heap(); float64(left) <= 1.1*float64(empty) {
			break
		}
		ends = time.Now()
	}
	bar(float64(left) <= 1.1*float64(empty), "%-40s %6d kB before, %d MB full, %d kB after", "  heap, after all have ended by themselves", empty>>10, full>>20, left>>10)
	runtime.KeepAlive(s)
}

// massExpiry has all registrations end at once, under traffic. A busy machine may
// take the CPU away for longer than the bar; a storage that holds others up does so
// each time. So of three attempts the best counts.
func massExpiry() {
	const most, attempts = 10 * time.Millisecond, 3
	var add, sample, took time.Duration
	for attempt := range attempts {
		a, s, t := expireUnderTraffic()
		if attempt == 0 || max(a, s) < max(add, sample) {
			add, sample, took = a, s, t
		}
		if max(a, s) <= most {
			break
		}
	}
	what := fmt.Sprintf("%d end at once, gone after %v", *million, took.Round(time.Millisecond))
	bar(add <= most, "%-50s Add %v at worst", what, add)
	bar(sample <= most, "%-50s Sample(50) %v at worst", "", sample)
}

// expireUnderTraffic returns the longest that an Add and a Sample took while a full
// storage emptied, and how long that was.
func expireUnderTraffic() (add, sample, took time.Duration) {
	f := &filler{namespaces: 1}
	s := rendezvous.NewMemoryStorage()
	defer func() { _ = s.Close() }()
	ends := time.Now().Add(15 * time.Second)
	f.fill(s, *million, ends)
	runtime.GC()
	ctx := context.Background()
	time.Sleep(time.Until(ends) - time.Second/2)
	for ops := 1; ; ops++ {
		r := f.record(*million+ops, time.Now().Add(*lifetime))
		start := time.Now()
		must(s.Add(ctx, r, rendezvous.Quota{}))
		added := time.Now()
		_, err := s.Sample(ctx, r.Namespace, 50)
		must(err)
		add, sample = max(add, added.Sub(start)), max(sample, time.Since(added))
		if ops%50 != 0 {
			continue
		}
		time.Sleep(time.Millisecond) // a CPU for the others
		counts, err := s.Counts(ctx)
		must(err)
		if time.Now().After(ends) && counts.Registrations <= ops {
			return add, sample, time.Since(ends)
		}
	}
}
