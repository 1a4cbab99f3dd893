package main

// Heap per registration.

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// heap is what a storage takes for its registrations, each of another peer.
type heap struct {
	Storage       string  `json:"storage"`
	Registrations int     `json:"registrations"`
	Envelope      int     `json:"envelope_bytes"`
	PerEach       float64 `json:"heap_bytes_each"` // the envelope included
}

func measureHeap(ctx context.Context, sizes []int) ([]heap, error) {
	var all []heap
	for _, s := range []struct {
		name string
		open openStorage
	}{{"memory", openMemory}, {"LevelDB", openLevelDB}} {
		for _, n := range sizes {
			h, err := heapOf(ctx, s.open, n)
			if err != nil {
				return nil, err
			}
			h.Storage = s.name
			all = append(all, h)
		}
	}
	return all, nil
}

func heapOf(ctx context.Context, open openStorage, n int) (h heap, err error) {
	like, err := newIdentities(1)
	if err != nil {
		return heap{}, err
	}
	before := heapNow()
	s, closeStorage, err := open()
	if err != nil {
		return heap{}, err
	}
	defer func() { err = errors.Join(err, closeStorage()) }()
	deadline := time.Now().Add(live)
	err = inParallel(n, func(i int) error {
		return s.Add(ctx, rendezvous.Record{
			Namespace: large, Peer: numbered(like[0].id, i), Envelope: like[0].record, Deadline: deadline,
		}, rendezvous.Quota{})
	})
	each := (heapNow() - before) / float64(n)
	return heap{Registrations: n, Envelope: len(like[0].record), PerEach: math.Round(each)}, err
}

// numbered is another peer ID, as long as id. A storage does not ask whether
// there is a key for it, which would take a minute to make for a million.
func numbered(id peer.ID, n int) peer.ID {
	b := []byte(id)
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(n))
	return peer.ID(b)
}

// heapNow is the heap in use, in bytes, garbage left out.
func heapNow() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a second one empties the pools
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
