package redisstorage

// Reading the answers of the servers.

import (
	"encoding/binary"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/redis/rueidis"
)

// header begins the answer of a script that a Sample calls.
type header struct {
	now    int64 // the server's time, in milliseconds
	length int64 // of the array that the script was asked about, or of the index
	live   int64 // how much of that is live
}

func readHeader(values []rueidis.RedisMessage) (h header, err error) {
	err = readInts(values, &h.now, &h.length, &h.live)
	return h, err
}

// readInts reads as many integers as there are values.
func readInts(values []rueidis.RedisMessage, into ...*int64) (err error) {
	if len(values) != len(into) {
		return errUnexpected
	}
	for i, n := range into {
		if *n, err = values[i].AsInt64(); err != nil {
			return err
		}
	}
	return nil
}

// entry is an entry of an array, or the zero value if there is none.
type entry struct {
	exists    bool
	namespace string
	peer      peer.ID
	envelope  []byte
	// By the server's clock, in milliseconds.
	fresh, deadline int64
}

// entryHeader is the size of an entry before the peer: six bytes of the end of freshness, two
// of the peer's length and one of flags.
const entryHeader = 9

// The flags of an entry are the length of the origin, lastingFlag and, above that, the kind of
// the envelope.
const lastingFlag = 16

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
	head, flags := binary.BigEndian.Uint64(b), b[entryHeader-1]
	peerEnd := entryHeader + int(head&0xffff)
	envelope := peerEnd + int(flags%lastingFlag)
	lasting := flags&lastingFlag != 0
	if lasting {
		envelope += 6
	}
	if len(b) < envelope {
		return entry{}, errUnexpected
	}
	fresh := int64(head >> 16)
	deadline := fresh
	if lasting {
		deadline = int64(binary.BigEndian.Uint64(b[envelope-8:]) & (1<<48 - 1))
	}
	return entry{
		exists:   true,
		peer:     peer.ID(b[entryHeader:peerEnd]),
		envelope: b[envelope:len(b):len(b)],
		fresh:    fresh,
		deadline: deadline,
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
	if len(values) != 4 {
		return errUnexpected
	}
	if err := a.setHeader(values[:3]); err != nil {
		return err
	}
	pairs, err := values[3].ToArray()
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
