package rendezvous

// What is special about the standard protocol at a point: pages and their cookies, kinds of
// records, and registrations that outlast their freshness.

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/logging"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

const (
	// freshTime is how long a registration may be in samples after it was made or renewed.
	freshTime = 20 * time.Second
	// renewInterval is how often the registrations of connected peers are renewed, and
	// renewTimeout how long that may take. A call of the storage renews renewBatch peers.
	renewInterval = 10 * time.Second
	renewTimeout  = 5 * time.Second
	renewBatch    = 1000
	// startTimeout is how long Start waits for the first page.
	startTimeout = 10 * time.Second
	// maxRegistrants bounds the memory for peers to about 20 MiB. It is more than the
	// peers that a host can be connected to.
	maxRegistrants = 1 << 17
	// maxPages is the largest number of pages that are read for one request, if the
	// caller may see nothing of the first ones.
	maxPages = 32
	// identifyTime is how long identify may take on a new connection.
	identifyTime = time.Second
)

// standard serves the standard protocol from a storage. Methods may be called by many
// goroutines at the same time.
type standard struct {
	storage Pager
	host    host.Host
	metrics MetricsTracer

	mu          sync.Mutex // not held during calls of storage or host
	registrants map[peer.ID]registrant
	failures    logging.Limit
}

// registrant is a peer that has registered over the standard protocol.
type registrant struct {
	kind     RecordKind // of its last registration
	deadline time.Time  // of the registration that ends last
	seen     time.Time  // when it registered last
}

// newStandard serves the standard protocol from a storage.
func newStandard(h host.Host, storage Storage, metrics MetricsTracer) (*standard, error) {
	pager, ok := storage.(Pager)
	if !ok {
		return nil, fmt.Errorf("a storage of type %T cannot list registrations in order, which %s needs: it is no Pager", storage, StandardID)
	}
	return &standard{storage: pager, host: h, metrics: metrics, registrants: make(map[peer.ID]registrant)}, nil
}

// begin makes the storage keep its registrations in order from now on. A storage that cannot
// be reached now begins when it is first read.
func (s *standard) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	switch _, _, err := s.read(ctx, &pageQuery{}, "", 1); {
	case errors.Is(err, ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		logging.Log.Warn("storage cannot page yet", "error", err)
	case err != nil:
		return fmt.Errorf("list registrations in order for %s: %w", StandardID, err)
	}
	return nil
}

// registered remembers that a peer has registered. If there are too many, it forgets one
// that is no longer connected.
func (s *standard) registered(p peer.ID, kind RecordKind, deadline, now time.Time) {
	for _, other := range s.candidates(p) {
		if !isConnected(s.host, other) {
			s.forget(other)
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.registrants[p]
	if !known && len(s.registrants) >= maxRegistrants {
		return
	}
	if deadline.After(r.deadline) {
		r.deadline = deadline
	}
	r.kind, r.seen = kind, now
	s.registrants[p] = r
}

// candidates returns some peers, of which one may have to be forgotten before p fits in.
func (s *standard) candidates(p peer.ID) (some []peer.ID) {
	const most = 8
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.registrants[p]; known || len(s.registrants) < maxRegistrants {
		return nil
	}
	for other := range s.registrants { // in random order
		if some = append(some, other); len(some) == most {
			break
		}
	}
	return some
}

func (s *standard) forget(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.registrants, p)
}

// unregister ends the registration of a peer in a namespace, or in all for "".
func (s *standard) unregister(ctx context.Context, p peer.ID, namespace string) error {
	if len(namespace) > MaxNamespaceSize {
		return nil // nobody is registered there
	}
	started := time.Now()
	err := s.storage.Remove(ctx, namespace, p)
	s.metrics.StorageCalled(StorageCalled{Op: StorageRemove, Err: err, Duration: time.Since(started)})
	if err != nil {
		return storageError{err}
	}
	return nil
}

// kindFor returns the kind of records that a peer can read: the kind that it registers, or
// else the kind that its program signs. The identify protocol names the program, and may still
// be under way on a new connection.
func (s *standard) kindFor(ctx context.Context, c network.Conn) RecordKind {
	p := c.RemotePeer()
	s.mu.Lock()
	r, known := s.registrants[p]
	s.mu.Unlock()
	if known {
		return r.kind
	}
	if strings.HasPrefix(s.agent(ctx, c), "rust-libp2p/") {
		return KindRoutingState
	}
	return KindPeerRecord
}

// agent returns the program of a peer, "" if that is unknown.
func (s *standard) agent(ctx context.Context, c network.Conn) string {
	const step = 20 * time.Millisecond
	for {
		agent, err := s.host.Peerstore().Get(c.RemotePeer(), "AgentVersion")
		if version, ok := agent.(string); ok && err == nil {
			return version
		}
		if time.Since(c.Stat().Opened) >= identifyTime {
			return ""
		}
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ""
		}
	}
}

// pageQuery says which registrations a DISCOVER asks for.
type pageQuery struct {
	namespace string // "": all
	kind      RecordKind
	limit     int
	draw      *limit.Draw
	// visible tells what the caller may see of all namespaces; nil: everything.
	visible *visibility
	// pay charges the caller for each page beyond the first. It returns false if the caller
	// cannot pay.
	pay func() bool
}

// page appends to found the registrations that come after a cookie, and returns the cookie
// at their end. To a client, an answer without registrations is the end, so page skips
// pages of which the caller may see nothing.
func (s *standard) page(ctx context.Context, q *pageQuery, cookie []byte, found []wire.Found) ([]wire.Found, []byte, error) {
	after := openCookie(cookie, q)
	size := q.limit
	for i := range maxPages {
		if i > 0 && !q.pay() {
			break
		}
		records, next, err := s.read(ctx, q, after, size)
		if err != nil {
			return found, nil, err
		}
		if found, err = q.choose(ctx, cut(found, 0), records); err != nil {
			return found, nil, err
		}
		switch {
		case len(found) > q.limit: // The cursor is at the end of a page. Read a shorter one.
			size = max(q.limit, size/2)
			continue
		case len(found) > 0, len(records) == 0:
			return found, sealCookie(next, q), nil
		}
		after = next
		size = max(q.limit, min(2*size, MaxDiscoverLimit))
	}
	return cut(found, 0), sealCookie(after, q), nil
}

// read reads a page of the storage. Its registrations fit into an answer, because what
// an answer leaves out would be skipped.
func (s *standard) read(ctx context.Context, q *pageQuery, after Cursor, size int) (records []Record, next Cursor, err error) {
	const (
		perRegistration = 24  // bytes of tags, lengths and TTL
		perAnswer       = 512 // bytes of the cookie and of what comes first
	)
	err = q.draw.Slowly(ctx, func() (err error) {
		started := time.Now()
		records, next, err = s.storage.Page(ctx, q.namespace, q.kind, after, size, wire.Standard.MaxAnswer-perAnswer-size*perRegistration)
		if err == nil && len(next) > MaxCursorSize {
			err = fmt.Errorf("cursor of %d bytes", len(next))
		}
		s.metrics.StorageCalled(StorageCalled{Op: StoragePage, Err: err, Duration: time.Since(started)})
		if err != nil {
			return storageError{err}
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return records, next, nil
}

// choose appends to found the records that the caller may see and can read.
func (q *pageQuery) choose(ctx context.Context, found []wire.Found, records []Record) ([]wire.Found, error) {
	now := time.Now()
	for i := range records {
		if len(records[i].Namespace) <= wire.Standard.MaxNamespace {
			found = append(found, foundOf(&records[i], now))
		}
	}
	if err := q.draw.Hold(copied(found)); err != nil {
		return found, err
	}
	if q.visible == nil {
		return found, nil
	}
	return q.visible.filter(ctx, found)
}

// foundOf returns a record of a storage in the form in which an answer needs it.
func foundOf(r *Record, now time.Time) wire.Found {
	return wire.Found{Namespace: r.Namespace, Envelope: r.Envelope, TTL: remainingSeconds(r.Deadline.Sub(now))}
}

// cut shortens a sample. It keeps nothing alive of what it leaves out, because the rest of the
// slice is not cleared before its next use.
func cut(found []wire.Found, n int) []wire.Found {
	clear(found[n:])
	return found[:n]
}

// copied returns the size of the namespaces and envelopes of a sample, in bytes.
func copied(found []wire.Found) (bytes int) {
	for i := range found {
		bytes += len(found[i].Namespace) + len(found[i].Envelope)
	}
	return bytes
}

// A cookie is the cursor of a page, after a hash that binds it to the namespace and the
// kind of the query: rust-libp2p wants eight bytes and then UTF-8. Nothing in it is secret.
const cookieHash = 8

func sealCookie(c Cursor, q *pageQuery) []byte {
	cookie := make([]byte, 0, cookieHash+len(c))
	return append(binary.BigEndian.AppendUint64(cookie, hashCursor(c, q)), c...)
}

// openCookie returns the cursor of a cookie, or the first cursor if this library did not make
// the cookie for such a query.
func openCookie(cookie []byte, q *pageQuery) Cursor {
	if len(cookie) < cookieHash || len(cookie) > cookieHash+MaxCursorSize {
		return ""
	}
	c := Cursor(cookie[cookieHash:])
	if binary.BigEndian.Uint64(cookie) != hashCursor(c, q) {
		return ""
	}
	return c
}

func hashCursor(c Cursor, q *pageQuery) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %s%s", q.kind, len(q.namespace), q.namespace, c)
	return h.Sum64()
}

// renew renews the registrations of the peers that are still connected, and forgets the
// others. Any connection of a peer counts as the one that it registered over, because
// libp2p closes one of two connections as it likes.
func (s *standard) renew(ctx context.Context) {
	if err := s.renewAll(ctx, time.Now()); err != nil && ctx.Err() == nil {
		if n, due := s.failures.Due(); due {
			logging.Log.Warn("registrations of connected peers are not renewed", "error", err, "times", n)
		}
	}
}

func (s *standard) renewAll(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	return s.renewPeers(ctx, s.connected(now), now)
}

// renewPeers renews the registrations of peers, as many as it can: if a part of the storage
// cannot be reached, each batch fails, but only for the peers of that part.
func (s *standard) renewPeers(ctx context.Context, peers []peer.ID, now time.Time) error {
	var first error
	failed := 0
	for batch := range slices.Chunk(peers, renewBatch) {
		started := time.Now()
		err := s.storage.Renew(ctx, batch, now.Add(freshTime+grace))
		s.metrics.StorageCalled(StorageCalled{Op: StorageRenew, Err: err, Duration: time.Since(started)})
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first != nil {
		return fmt.Errorf("renew the registrations of %d peers: %d calls failed: %w", len(peers), failed, first)
	}
	return nil
}

// connected returns the peers with registrations that are connected, and forgets the
// others.
func (s *standard) connected(now time.Time) []peer.ID {
	s.mu.Lock()
	all := maps.Clone(s.registrants)
	s.mu.Unlock()
	var peers []peer.ID
	for p, r := range all {
		if r.deadline.After(now) && isConnected(s.host, p) {
			peers = append(peers, p)
			delete(all, p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, r := range all {
		if s.registrants[p] == r { // it has not registered again meanwhile
			delete(s.registrants, p)
		}
	}
	return peers
}

func isConnected(h host.Host, p peer.ID) bool {
	switch h.Network().Connectedness(p) {
	case network.Connected, network.Limited:
		return true
	default:
		return false
	}
}
