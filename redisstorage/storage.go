package redisstorage

// The Storage type.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/rueidis"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// Storage is a [rendezvous.Pager] on Redis or Valkey. It is also a
// [prometheus.Collector] with metrics about the servers. All methods may be called
// concurrently. Use [Open] to make one; the zero value is not usable.
type Storage struct {
	client  rueidis.Client
	shards  []*shard
	health  *health
	metrics *metrics
	sampler *sampler
	pager   *pager
	monitor *monitor

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // calls under way; none is added after closed is set

	closeOnce sync.Once
}

var (
	_ rendezvous.Pager     = (*Storage)(nil)
	_ prometheus.Collector = (*Storage)(nil)
)

// newStorage returns a storage that owns client. It is to be closed.
func newStorage(ctx context.Context, client rueidis.Client, prefix string, now func() time.Time) *Storage {
	m := new(metrics)
	var shards []*shard
	for _, k := range newKeys(prefix, isCluster(client)) {
		shards = append(shards, newShard(k, client, now, m))
	}
	h := newHealth(len(shards))
	sampler := newSampler(client, shards, h, m, now)
	s := &Storage{
		client:  client,
		shards:  shards,
		health:  h,
		metrics: m,
		sampler: sampler,
		pager:   &pager{shards: shards, health: h, metrics: m, large: sampler.large},
		monitor: &monitor{shards: shards, health: h, metrics: m},
	}
	s.monitor.start(ctx)
	return s
}

// Add implements [rendezvous.Storage]. It is one atomic step of the server, except that
// a cluster counts the origin in another step. The deadline is sent as the remaining
// time and is by the server's clock from then on. A server that is out of memory is
// [rendezvous.ErrFull].
func (s *Storage) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := addRecord(ctx, s.shards, r, q); err != nil {
		return fmt.Errorf("add registration: %w", err)
	}
	return nil
}

// Sample implements [rendezvous.Storage]. What has expired by the server's clock is left
// out, and the deadlines of the records are by the clock of this process. If some shards
// of a cluster cannot be reached, the sample is of the others.
func (s *Storage) Sample(ctx context.Context, namespace string, n, maxBytes int) ([]rendezvous.Record, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if n <= 0 {
		return nil, nil
	}
	records, err := s.sampler.sample(ctx, namespace, n, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("sample registrations: %w", err)
	}
	return records, nil
}

// Page implements [rendezvous.Pager]. The first Page of any point makes all points of the
// registry keep the order from then on, until the registry has been without points for a
// while. It also puts the existing registrations into the order, which takes about 20 seconds
// for a million. If ctx ends meanwhile, the next Page continues. A cursor is understood by
// all points of the registry. If some shards of a cluster cannot be reached, the page is of
// the others, and later pages have what is missing. After a failover that lost registrations,
// and after a server has lost them all, a page may repeat some, but skips none.
func (s *Storage) Page(ctx context.Context, namespace string, kind rendezvous.RecordKind, after rendezvous.Cursor, n, maxBytes int) ([]rendezvous.Record, rendezvous.Cursor, error) {
	if err := s.enter(); err != nil {
		return nil, "", err
	}
	defer s.leave()
	records, cursor, err := s.pager.page(ctx, namespace, kind, after, n, maxBytes)
	if err != nil {
		return nil, "", fmt.Errorf("page through registrations: %w", err)
	}
	return records, cursor, nil
}

// Remove implements [rendezvous.Pager]. The registration of a namespace is removed in one atomic
// step of the server, and those of all namespaces a hundred at a time.
func (s *Storage) Remove(ctx context.Context, namespace string, p peer.ID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := removeRecords(ctx, s.shards, namespace, p); err != nil {
		return fmt.Errorf("remove registrations: %w", err)
	}
	return nil
}

// Renew implements [rendezvous.Pager]. All points of the registry see it, and it is kept as long as
// the registrations are.
func (s *Storage) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := renewAll(ctx, s.shards, s.health, peers, fresh); err != nil {
		return fmt.Errorf("renew registrations: %w", err)
	}
	return nil
}

// Counts implements [rendezvous.Storage]. The registrations of a shard that cannot be
// reached are counted as it last reported them. On a cluster with tens of thousands of
// namespaces, the number of namespaces is that of the shard with the most.
func (s *Storage) Counts(ctx context.Context) (rendezvous.Counts, error) {
	if err := s.enter(); err != nil {
		return rendezvous.Counts{}, err
	}
	defer s.leave()
	counts, err := countAll(ctx, s.client, s.shards)
	if err != nil {
		return rendezvous.Counts{}, fmt.Errorf("count registrations: %w", err)
	}
	return counts, nil
}

// Close implements [rendezvous.Storage]. It waits for calls under way, a few seconds at
// most, and closes all connections. Registrations stay on the servers until their
// deadline.
func (s *Storage) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.monitor.stop()
		s.calls.Wait()
		s.client.Close()
	})
	return nil
}

// Describe implements [prometheus.Collector].
func (s *Storage) Describe(out chan<- *prometheus.Desc) { describe(out) }

// Collect implements [prometheus.Collector]. It sends nothing to the servers.
func (s *Storage) Collect(out chan<- prometheus.Metric) {
	s.metrics.collect(out, len(s.shards), s.health.numDown())
}

// enter begins a call, which leave ends. It fails if the storage is closed.
func (s *Storage) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return rendezvous.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

func (s *Storage) leave() { s.calls.Done() }
