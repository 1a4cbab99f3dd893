package redisstorage

// Reading the replies of the scripts of a shard.

import (
	"fmt"
	"time"

	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// reply is the answer of a script that begins with the time.
type reply struct {
	sent, received time.Time // by the clock of this process
	at             int64     // the server's time, in milliseconds
	values         []rueidis.RedisMessage
}

// shardPage is a part of the order of a shard.
type shardPage struct {
	after   mark // where it begins; its order is 0 if the shard does not keep the order yet
	records []sequenced
	reached int64
	more    bool
}

// sequenced is a registration and its sequence number.
type sequenced struct {
	seq    int64
	record rendezvous.Record
}

// readPage reads a reply of the page script. The server read its clock at a time of this process.
func readPage(r *reply, readAt time.Time, kind rendezvous.RecordKind) (*shardPage, error) {
	if len(r.values) != 5 {
		return nil, errUnexpected
	}
	var order, more int64
	p := new(shardPage)
	if err := readInts(r.values[:4], &order, &p.after.seq, &p.reached, &more); err != nil {
		return nil, err
	}
	p.after.order, p.more = uint32(order), more != 0
	values, err := r.values[4].ToArray()
	if err != nil {
		return nil, err
	}
	for len(values) >= 3 {
		s, err := readSequenced(r, values[:3], readAt)
		if err != nil {
			return nil, fmt.Errorf("registration in the order: %w", err)
		}
		s.record.Kind = kind
		if s.record.Deadline.After(r.received) {
			p.records = append(p.records, s)
		}
		values = values[3:]
	}
	return p, nil
}

// readSequenced reads a sequence number, a namespace and an entry.
func readSequenced(r *reply, values []rueidis.RedisMessage, readAt time.Time) (s sequenced, err error) {
	if err := readInts(values[:1], &s.seq); err != nil {
		return s, err
	}
	ns, err := values[1].ToString()
	if err != nil {
		return s, err
	}
	e, err := readEntry(&values[2])
	if err != nil {
		return s, err
	}
	at := func(t int64) time.Time { return readAt.Add(time.Duration(t-r.at) * time.Millisecond) }
	s.record = rendezvous.Record{Namespace: ns, Peer: e.peer, Envelope: e.envelope, Deadline: at(e.deadline)}
	if e.fresh != e.deadline {
		s.record.Fresh = at(e.fresh)
	}
	return s, nil
}
