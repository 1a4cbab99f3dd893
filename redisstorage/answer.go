package redisstorage

// Reading the answers of the servers.

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"
)

// header begins the answer of every script.
type header struct {
	now    int64 // the server's time, in milliseconds
	length int64 // of the index, or of the array that the script was asked about
}

func readHeader(values []rueidis.RedisMessage) (h header, err error) {
	if len(values) != 2 {
		return h, errUnexpected
	}
	if h.now, err = values[0].AsInt64(); err != nil {
		return h, err
	}
	h.length, err = values[1].AsInt64()
	return h, err
}

// entry is an entry of an array, or the zero value if there is none.
type entry struct {
	exists    bool
	namespace string
	peer      peer.ID
	envelope  []byte
	deadline  int64 // of the server's clock, in milliseconds
}

// entryHeader is the size of an entry before the peer: six bytes of deadline and two of
// the peer's length.
const entryHeader = 8

func readEntry(m *rueidis.RedisMessage) (entry, error) {
	if m.IsNil() {
		return entry{}, nil
	}
	b, err := m.AsBytes()
	if err != nil {
		return entry{}, err
	}
	return decodeEntry(b)
}

// decodeEntry decodes an entry that packEntry in lua/lib.lua has packed. The envelope is a
// part of b.
func decodeEntry(b []byte) (entry, error) {
	if len(b) < entryHeader {
		return entry{}, errUnexpected
	}
	head := binary.BigEndian.Uint64(b)
	peerEnd := entryHeader + int(head&0xffff)
	if len(b) < peerEnd {
		return entry{}, errUnexpected
	}
	return entry{
		exists:   true,
		peer:     peer.ID(b[entryHeader:peerEnd]),
		envelope: b[peerEnd:len(b):len(b)],
		deadline: int64(head >> 16),
	}, nil
}

// answer is the answer of one shard to a query.
type answer struct {
	err       error
	header    header
	hasHeader bool
	entries   []entry // in the order of the positions in the query
}

// next returns the entry at the next position of the query, if there is one.
func (a *answer) next() (entry, bool) {
	if len(a.entries) == 0 {
		return entry{}, false
	}
	e := a.entries[0]
	a.entries = a.entries[1:]
	return e, e.exists
}

// addArray adds a result about one namespace: first a header, then entries.
func (a *answer) addArray(ns string, result rueidis.RedisResult) error {
	values, err := result.ToArray()
	if err != nil {
		return err
	}
	if !a.hasHeader {
		return a.setHeader(values)
	}
	for i := range values {
		e, err := readEntry(&values[i])
		if err != nil {
			return err
		}
		e.namespace = ns
		a.entries = append(a.entries, e)
	}
	return nil
}

// addRanks adds a result of the ranks script: a header, then namespaces and entries.
func (a *answer) addRanks(result rueidis.RedisResult) error {
	values, err := result.ToArray()
	if err != nil {
		return err
	}
	if len(values) != 3 {
		return errUnexpected
	}
	if err := a.setHeader(values[:2]); err != nil {
		return err
	}
	pairs, err := values[2].ToArray()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		e, err := readEntry(&pairs[i+1])
		if err != nil {
			return err
		}
		if e.exists {
			if e.namespace, err = pairs[i].ToString(); err != nil {
				return err
			}
		}
		a.entries = append(a.entries, e)
	}
	return nil
}

func (a *answer) setHeader(values []rueidis.RedisMessage) error {
	h, err := readHeader(values)
	if a.hasHeader {
		h.now = a.header.now // the first of several times is nearest to the query's start
	}
	a.header, a.hasHeader = h, true
	return err
}
