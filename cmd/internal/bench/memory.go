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

// heap is the heap that a storage uses for registrations of different peers.
type heap struct {
	Storage       string  `json:"storage"`
	Registrations int     `json:"registrations"`
	Envelope      int     `json:"envelope_bytes"`
	PerEach       float64 `json:"heap_bytes_each"` // per registration, with its envelope
}

func measureHeap(ctx context.Context, sizes []int) ([]heap, error) {
	var all []heap
	for _, s := range []struct {
		name string
		open openStorage
	}{{"memory", openMemory}, {pagedMemory, openPagedMemory}, {"LevelDB", openLevelDB}} {
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

// pagedMemory is a memory storage that keeps its registrations in order, as that of a point that
// serves the standard protocol does.
const pagedMemory = "memory, with pages"

func openPagedMemory() (rendezvous.Storage, func() error, error) {
	s, closeStorage, err := openMemory()
	if pager, ok := s.(rendezvous.Pager); ok {
		_, _, err = pager.Page(context.Background(), "", rendezvous.KindPeerRecord, "", 1, 0) // as Start does
	}
	return s, closeStorage, err
}

// heapOf measures a storage with n registrations.
func heapOf(ctx context.Context, open openStorage, n int) (h heap, err error) {
	ids, err := newIdentities(1)
	if err != nil {
		return heap{}, err
	}
	before := heapInUse()
	s, closeStorage, err := open()
	if err != nil {
		return heap{}, err
	}
	defer func() { err = errors.Join(err, closeStorage()) }()
	deadline := time.Now().Add(initialTTL)
	err = forEach(n, func(i int) error {
		return s.Add(ctx, rendezvous.Record{
			Namespace: largeNamespace, Peer: fakePeerID(ids[0].id, i), Envelope: ids[0].record, Deadline: deadline,
			Origin: fakeOrigin(i),
		}, quota)
	})
	each := (heapInUse() - before) / float64(n)
	return heap{Registrations: n, Envelope: len(ids[0].record), PerEach: math.Round(each)}, err
}

// fakePeerID returns a peer ID of the same length as id, with n in it. A storage does not
// check that a key exists for it. Making a million keys would take a minute.
func fakePeerID(id peer.ID, n int) peer.ID {
	b := []byte(id)
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(n))
	return peer.ID(b)
}

// heapInUse returns the size of the live heap in bytes.
func heapInUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second collection empties the sync.Pools
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
