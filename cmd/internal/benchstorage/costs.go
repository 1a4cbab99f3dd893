package main

// The cost of Add and Sample, by the number of registrations.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// costs has the time of one operation of each kind.
type costs struct {
	add         time.Duration // of a new registration
	refresh     time.Duration // with the same envelope, in the order of registration
	replace     time.Duration // with another envelope, in the order of registration
	randomOrder time.Duration // with another envelope, in random order
	sample      time.Duration
	page        time.Duration // of pageSize, one after the other
	churned     time.Duration // the same, after half was refreshed in random order
	paged       time.Duration // refresh in the order of registration, while the order is kept
}

// compareCosts compares a storage with a thousand registrations with a full one.
func compareCosts(t *targets) error {
	small, err := measureCosts(1000)
	if err != nil {
		return err
	}
	full, err := measureCosts(*fullSize)
	if err != nil {
		return err
	}
	if err := errors.Join(small.measurePages(newFiller(1), 1000), full.measurePages(newFiller(1), *fullSize)); err != nil {
		return err
	}
	const format = "%-28s %12v %12v %7.2f"
	fmt.Printf("%-28s %12s %12s %7s\n", "memory, one namespace", "1000", fmt.Sprint(*fullSize), "ratio")
	check := func(what string, small, full time.Duration) {
		ratio := float64(full) / float64(small)
		t.check(ratio <= 3, format, what, small, full, ratio)
	}
	check("Add, new", small.add, full.add)
	check("Add, refresh", small.refresh, full.refresh)
	check("Add, refresh, other record", small.replace, full.replace)
	fmt.Printf(format+"  (no target: see docs/storage.md)\n", "Add, refresh, random order",
		small.randomOrder, full.randomOrder, float64(full.randomOrder)/float64(small.randomOrder))
	check("Sample(50)", small.sample, full.sample)
	check("Page(1000)", small.page, full.page)
	check("Page(1000), half refreshed", small.churned, full.churned)
	fmt.Printf(format+"  (no target: see docs/storage.md)\n", "Add, refresh, with pages",
		small.paged, full.paged, float64(full.paged)/float64(small.paged))
	fmt.Println()
	return nil
}

// measureCosts measures a storage with n registrations.
func measureCosts(n int) (c costs, err error) {
	s := rendezvous.NewMemoryStorage()
	defer func() { err = errors.Join(err, s.Close()) }()
	f := newFiller(1)
	if err := f.fill(s, n, time.Now().Add(*ttl)); err != nil {
		return costs{}, err
	}
	ctx := context.Background()
	records := make([]rendezvous.Record, 100_000)
	// refresh measures Add for registered peers. It makes the records beforehand.
	refresh := func(pick func(i int) int, envelope uint64) time.Duration {
		for i := range records {
			r := f.record(pick(i), time.Now().Add(*ttl))
			r.Envelope = slices.Clone(r.Envelope)
			binary.LittleEndian.PutUint64(r.Envelope[8:], envelope)
			records[i] = r
		}
		return timePerOp(len(records), &err, func(i int) error { return s.Add(ctx, records[i], quota()) })
	}
	// Peers refresh at an interval, and so in the order in which they have registered.
	// In a random order, each one has to be loaded from several places in main memory.
	inOrder := func(i int) int { return i % n }
	c.refresh = refresh(inOrder, 0)
	c.replace = refresh(inOrder, rand.Uint64())
	c.randomOrder = refresh(func(int) int { return rand.IntN(n) }, 0)
	c.sample = timePerOp(len(records), &err, func(int) error {
		_, err := s.Sample(ctx, namespace(0), sampleSize, 0)
		return err
	})
	if err != nil {
		return costs{}, err
	}
	c.add, err = measureAddNew(f, n)
	return c, err
}

// measurePages measures a storage that keeps the order, with n registrations.
func (c *costs) measurePages(f *filler, n int) (err error) {
	s := rendezvous.NewMemoryStorage()
	defer func() { err = errors.Join(err, s.Close()) }()
	pager, ok := s.(rendezvous.Pager)
	if !ok {
		return fmt.Errorf("%T is no Pager", s)
	}
	ctx := context.Background()
	if _, _, err := pager.Page(ctx, "", rendezvous.KindPeerRecord, "", 1, 0); err != nil { // as Start does
		return err
	}
	if err := f.fill(s, n, time.Now().Add(*ttl)); err != nil {
		return err
	}
	// Each page is a full one: of a thousand registrations, every other page would be the empty
	// one after the last registration, and would halve the time.
	size := min(pageSize, n)
	pages := func() time.Duration {
		var cursor rendezvous.Cursor
		left := n // registrations after the cursor
		return timePerOp(2000, &err, func(int) error {
			if left < size {
				cursor, left = "", n
			}
			got, next, err := pager.Page(ctx, namespace(0), rendezvous.KindPeerRecord, cursor, size, 0)
			if err == nil && len(got) != size {
				err = fmt.Errorf("a page has %d registrations, not %d", len(got), size)
			}
			cursor, left = next, left-size
			return err
		})
	}
	c.page = pages()
	refresh := func(i int) error { return s.Add(ctx, f.record(i, time.Now().Add(*ttl)), quota()) }
	for _, i := range rand.Perm(n)[:n/2] {
		err = errors.Join(err, refresh(i))
	}
	c.churned = pages()
	c.paged = timePerOp(100_000, &err, func(i int) error { return refresh(i % n) })
	return err
}

// measureAddNew measures Add for new peers. It adds only a tenth to a storage with n
// registrations, so that a small storage stays small, and repeats that with new storages.
func measureAddNew(f *filler, n int) (time.Duration, error) {
	const total = 100_000
	more := min(n/10, total)
	records := make([]rendezvous.Record, more)
	fastest := time.Duration(math.MaxInt64)
	for range max(1, min(50, total/more)) {
		s := rendezvous.NewMemoryStorage()
		err := f.fill(s, n, time.Now().Add(*ttl))
		for i := range records {
			records[i] = f.record(n+i, time.Now().Add(*ttl))
		}
		fastest = min(fastest, timePerOp(more, &err, func(i int) error {
			return s.Add(context.Background(), records[i], quota())
		}))
		if err := errors.Join(err, s.Close()); err != nil {
			return 0, err
		}
	}
	return fastest, nil
}

// timePerOp divides many operations into a hundred parts, and returns the time of one
// operation in the fastest part, which other load of the machine affects least. It stores
// an error in err, and does nothing if there is one already.
func timePerOp(ops int, err *error, op func(i int) error) time.Duration {
	parts := min(100, ops)
	runtime.GC()
	fastest := time.Duration(math.MaxInt64)
	for part := range parts {
		from, to := part*ops/parts, (part+1)*ops/parts
		start := time.Now()
		for i := from; i < to && *err == nil; i++ {
			*err = op(i)
		}
		fastest = min(fastest, time.Since(start)/time.Duration(to-from))
	}
	return fastest
}
