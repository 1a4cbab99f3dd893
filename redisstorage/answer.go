package redisstorage

// Reading what scripts and commands return.

import (
	"encoding/binary"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"
)

var errUnexpected = errors.New("unexpected answer of the server")

// head is what every script returns first.
type head struct {
	now    int64 // the server's time, in milliseconds
	length int64 // of what was asked about
}

func readHead(values []rueidis.RedisMessage) (h head, err error) {
	if len(values) != 2 {
		return h, errUnexpected
	}
	if h.now, err = values[0].AsInt64(); err != nil {
		return h, err
	}
	h.length, err = values[1].AsInt64()
	return h, err
}

// answer is what a shard answers to a Sample.
type answer struct {
	err    error
	head   head
	headed bool
	// found is, in the order that was asked for, what there is or is not.
	found []found
}

type found struct {
	ok        bool
	namespace string
	peer      peer.ID
	envelope  []byte
	deadline  int64 // of the server's clock, in milliseconds
}

// next returns what is at the next position that was asked for.
func (a *answer) next() (found, bool) {
	if len(a.found) == 0 {
		return found{}, false
	}
	f := a.found[0]
	a.found = a.found[1:]
	return f, f.ok
}

// takeFetch reads the results of fetch: a head, then entries.
func (a *answer) takeFetch(ns string, result rueidis.RedisResult) error {
	values, err := result.ToArray()
	if err != nil {
		return err
	}
	if !a.headed {
		return a.takeHead(values)
	}
	for i := range values {
		f, err := readEntry(&values[i])
		if err != nil {
			return err
		}
		f.namespace = ns
		a.found = append(a.found, f)
	}
	return nil
}

// takeWalk reads the results of walk: heads, each followed by namespaces and entries.
func (a *answer) takeWalk(result rueidis.RedisResult) error {
	values, err := result.ToArray()
	if err != nil {
		return err
	}
	if len(values) != 3 {
		return errUnexpected
	}
	if err := a.takeHead(values[:2]); err != nil {
		return err
	}
	pairs, err := values[2].ToArray()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		f, err := readEntry(&pairs[i+1])
		if err != nil {
			return err
		}
		if f.ok {
			if f.namespace, err = pairs[i].ToString(); err != nil {
				return err
			}
		}
		a.found = append(a.found, f)
	}
	return nil
}

func (a *answer) takeHead(values []rueidis.RedisMessage) error {
	h, err := readHead(values)
	if a.headed {
		h.now = a.head.now // of several, the first is nearest to the question
	}
	a.head, a.headed = h, true
	return err
}

// entryHead is the size of what comes before the peer in an entry: six bytes of
// deadline, two of the peer's length.
const entryHead = 8

// readEntry reads an entry as lua/lib.lua writes it, or that there is none.
func readEntry(m *rueidis.RedisMessage) (found, error) {
	if m.IsNil() {
		return found{}, nil
	}
	entry, err := m.AsBytes()
	if err != nil {
		return found{}, err
	}
	if len(entry) < entryHead {
		return found{}, errUnexpected
	}
	head := binary.BigEndian.Uint64(entry)
	peerEnd := entryHead + int(head&0xffff)
	if len(entry) < peerEnd {
		return found{}, errUnexpected
	}
	return found{
		ok:       true,
		peer:     peer.ID(entry[entryHead:peerEnd]),
		envelope: entry[peerEnd:len(entry):len(entry)],
		deadline: int64(head >> 16),
	}, nil
}
