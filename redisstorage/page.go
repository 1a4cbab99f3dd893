package redisstorage

// Paging through registrations in the order in which they were added or replaced.

import (
	"context"
	"sync"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	// pageBatch is how many registrations one script looks at most, so that it delays other
	// calls by no more than a millisecond or two.
	pageBatch = 200
	// pageBytes bounds what one script returns, with or without a bound of the caller.
	pageBytes = 1 << 20
)

// pager pages through registrations. All methods may be called concurrently.
type pager struct {
	shards  []*shard
	health  *health
	metrics *metrics
	large   chan struct{} // has an element for each large page or round of a sample under way
}

// page is [rendezvous.Pager].Page. The shards' orders are merged by sequence number. A shard that
// cannot be reached is left out, and its mark stays where it was.
func (p *pager) page(ctx context.Context, ns string, kind rendezvous.RecordKind, after rendezvous.Cursor, n, maxBytes int) ([]rendezvous.Record, rendezvous.Cursor, error) {
	if n >= largeRound {
		select {
		case p.large <- struct{}{}:
			defer func() { <-p.large }()
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	m := &merge{shards: p.shards, health: p.health, namespace: ns, kind: kind}
	for _, mark := range decodeCursor(after, len(p.shards)) {
		m.queues = append(m.queues, queue{mark: mark, more: true})
	}
	var records []rendezvous.Record
	bytes := 0
	for {
		left := maxBytes - bytes
		if maxBytes <= 0 {
			left = pageBytes
		}
		if err := m.fill(ctx, n-len(records), left); err != nil {
			return nil, "", err
		}
		if len(records) >= n {
			break
		}
		r, ok := m.first()
		size := len(r.Namespace) + len(r.Envelope)
		if !ok || maxBytes > 0 && len(records) > 0 && bytes+size > maxBytes {
			break
		}
		m.advance()
		records = append(records, r)
		bytes += size
	}
	if m.lost() > 0 {
		p.metrics.partial.Add(1)
	}
	if n <= 0 {
		return nil, after, nil
	}
	return records, m.cursor(), nil
}

// merge merges the orders of the shards.
type merge struct {
	shards    []*shard
	health    *health
	namespace string
	kind      rendezvous.RecordKind
	queues    []queue // by shard
}

// queue is what was fetched from a shard and is not in the page yet.
type queue struct {
	mark    mark // after what is in the page
	records []sequenced
	reached int64 // sequence number after records
	more    bool  // the shard may have more after reached
	err     error // the shard did not answer
}

// fill fetches until every queue that may have more has a registration. The page has room
// for n more registrations and a number of bytes.
func (m *merge) fill(ctx context.Context, n, bytes int) error {
	if len(m.shards) > 1 { // each has about its share
		n, bytes = n/len(m.shards)*5/4+16, bytes/len(m.shards)*5/4+1<<12
	}
	n, bytes = max(0, min(n, pageBatch)), min(bytes, pageBytes)
	for {
		var filling sync.WaitGroup
		filled := 0
		for i := range m.queues {
			q := &m.queues[i]
			if q.err != nil || len(q.records) > 0 || !q.more {
				continue
			}
			filled++
			if m.health.skip(i) {
				q.err = errDown
				continue
			}
			filling.Go(func() { m.fillFrom(ctx, i, n, bytes) })
		}
		filling.Wait()
		if err := ctx.Err(); err != nil {
			return err
		}
		if lost := m.lost(); lost == len(m.queues) {
			return m.queues[0].err
		}
		if filled == 0 || n == 0 {
			return nil
		}
	}
}

// fillFrom fetches from shard i. Each queue is filled by one goroutine.
func (m *merge) fillFrom(ctx context.Context, i, n, bytes int) {
	q := &m.queues[i]
	page, err := m.shards[i].page(ctx, m.namespace, m.kind, q.mark, n, bytes)
	if err != nil {
		log.Debug("paged without a shard that did not answer", "shard", i, "error", err)
		q.err = err
		return
	}
	q.mark, q.records, q.reached, q.more = page.after, page.records, page.reached, page.more
	if len(q.records) == 0 {
		q.mark.seq = q.reached
	}
}

// lost returns how many shards did not answer.
func (m *merge) lost() (n int) {
	for _, q := range m.queues {
		if q.err != nil {
			n++
		}
	}
	return n
}

// earliest returns the queue that has the first registration, or nil if all are empty.
func (m *merge) earliest() *queue {
	var earliest *queue
	for i := range m.queues {
		q := &m.queues[i]
		if len(q.records) > 0 && (earliest == nil || q.records[0].seq < earliest.records[0].seq) {
			earliest = q
		}
	}
	return earliest
}

// first returns the first registration that is not in the page, if there is one.
func (m *merge) first() (rendezvous.Record, bool) {
	if q := m.earliest(); q != nil {
		return q.records[0].record, true
	}
	return rendezvous.Record{}, false
}

// advance moves past the first registration.
func (m *merge) advance() {
	q := m.earliest()
	q.mark.seq = q.records[0].seq
	q.records = q.records[1:]
	if len(q.records) == 0 {
		q.mark.seq = q.reached
	}
}

// cursor returns the cursor after what is in the page.
func (m *merge) cursor() rendezvous.Cursor {
	marks := make([]mark, len(m.queues))
	for i, q := range m.queues {
		marks[i] = q.mark
	}
	return encodeCursor(marks)
}
