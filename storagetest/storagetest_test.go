package storagetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// The plainest right storage passes; each with one thing wrong fails. Each row names
// a check that must be among those that find it.
func TestSuiteFindsWhatIsWrong(t *testing.T) {
	for _, row := range []struct {
		flaw  string
		found string
	}{
		{"", ""},
		{"never expires", "live before its deadline"},
		{"expires a nanosecond late", "live before its deadline"},
		{"expires a nanosecond early", "live before its deadline"},
		{"keeps the first deadline", "moves the deadline"},
		{"only extends deadlines", "moves the deadline"},
		{"keeps the first envelope", "replaces"},
		{"keeps both", "replaces"},
		{"ignores what has ended already", "ended already"},
		{"cuts envelopes", "comes back"},
		{"takes prefixes for the namespace", "any bytes"},
		{"ends keys at a zero", "any bytes"},
		{"joins namespace and peer", "any bytes"},
		{"forgets the case of 256 bytes", "any bytes"},
		{"always the same", "is uniform"},
		{"prefers one a little", "is uniform"},
		{"draws neighbours", "in pairs"},
		{"draws in order", "first record"},
		{"draws a namespace first", "over all namespaces"},
		{"repeats", "as many as asked for"},
		{"one too many", "as many as asked for"},
		{"one too few", "as many as asked for"},
		{"limit counts refreshes", "refresh at the limit"},
		{"no limit for a peer", "peer has a limit"},
		{"no limit in total", "storage has a limit"},
		{"limit off by one", "peer has a limit"},
		{"limits not in one step", "many add at once"},
		{"limit counts what has ended", "against no limit"},
		{"refreshes what has ended", "refreshed but new"},
		{"zero is a limit", "no limit is zero"},
		{"wrong refusal", "storage has a limit"},
		{"keeps the caller's slice", "caller's envelope"},
		{"reuses envelopes", "stay as they are"},
		{"ignores contexts", "context"},
		{"stores although the context has ended", "context"},
		{"counts peers for namespaces", "counts"},
		{"keeps what has ended in memory", "takes no memory"},
		{"second Close fails", "closing twice"},
		{"works after Close", "closed storage"},
		{"loses what it acknowledged", "outlives"},
		{"resurrects", "outlives"},
	} {
		t.Run(strings.ReplaceAll(row.flaw, " ", "_"), func(t *testing.T) {
			failed := failures(t, row.flaw, row.found)
			switch {
			case row.flaw == "" && len(failed) > 0:
				t.Errorf("a right storage fails: %v", failed)
			case row.flaw != "" && len(failed) == 0:
				t.Errorf("a storage that %q passes %q", row.flaw, row.found)
			}
			for name, said := range failed {
				t.Logf("%s: %s", name, said)
			}
		})
	}
}

// failures runs the checks with a name that has match in it against a plain storage
// with a flaw, and returns what each that fails says first.
func failures(t *testing.T, flaw, match string) map[string]string {
	t.Helper()
	reopen := func(t *testing.T, s rendezvous.Storage) rendezvous.Storage {
		t.Helper()
		p, ok := s.(*plain)
		if !ok {
			t.Fatalf("reopening a %T", s)
		}
		return p.reopened()
	}
	failed := make(map[string]string)
	for _, c := range checks {
		if !strings.Contains(c.name, match) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{t: t}
			var wg sync.WaitGroup
			wg.Go(func() { // for Fatalf to end, instead of the test
				run(t, r, c, newConfig([]Option{Reopen(reopen)}), func(*testing.T) rendezvous.Storage {
					return newPlain(flaw)
				})
			})
			wg.Wait()
			if len(r.said) > 0 {
				failed[c.name] = r.said[0]
			}
		})
	}
	return failed
}

// recorder notes what a check says instead of failing.
type recorder struct {
	t    *testing.T
	mu   sync.Mutex
	said []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.t.Context() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.said) < 10 {
		r.said = append(r.said, fmt.Sprintf(format, args...))
	}
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// plain is a storage that is as plain as can be, and has one flaw.
type plain struct {
	flaw string

	mu      sync.Mutex
	records []rendezvous.Record
	first   []rendezvous.Record // as they were when first added
	closed  bool
}

func newPlain(flaw string) *plain { return &plain{flaw: flaw} }

func (p *plain) is(flaw string) bool { return p.flaw == flaw }

func (p *plain) key(r rendezvous.Record) [2]string {
	switch {
	case p.is("joins namespace and peer"):
		return [2]string{r.Namespace + string(r.Peer)}
	case p.is("ends keys at a zero"):
		ns, _, _ := strings.Cut(r.Namespace, "\x00")
		return [2]string{ns, string(r.Peer)}
	default:
		return [2]string{r.Namespace, string(r.Peer)}
	}
}

func (p *plain) live(r rendezvous.Record) bool {
	left := time.Until(r.Deadline)
	switch {
	case p.is("never expires"):
		return true
	case p.is("expires a nanosecond late"):
		return left >= 0
	case p.is("expires a nanosecond early"):
		return left > 1
	default:
		return left > 0
	}
}

func (p *plain) check(ctx context.Context) error {
	if p.closed && !p.is("works after Close") {
		return rendezvous.ErrClosed
	}
	if p.is("ignores contexts") {
		return nil
	}
	return ctx.Err()
}

func (p *plain) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.check(ctx)
	if err != nil && (p.closed || !p.is("stores although the context has ended")) {
		return err
	}
	same := func(other rendezvous.Record) bool { return p.key(other) == p.key(r) }
	at := slices.IndexFunc(p.records, same)
	if at >= 0 && !p.live(p.records[at]) && !p.is("refreshes what has ended") {
		if !p.is("limit counts what has ended") {
			p.records = slices.Delete(p.records, at, at+1)
		}
		at = -1
	}
	if at < 0 || p.is("limit counts refreshes") {
		if err := p.limits(r, q); err != nil {
			return err
		}
	}
	if p.is("limits not in one step") {
		p.mu.Unlock()
		runtime.Gosched()
		time.Sleep(time.Nanosecond)
		p.mu.Lock()
		at = slices.IndexFunc(p.records, same)
	}
	p.keep(at, r)
	return err
}

func (p *plain) keep(at int, r rendezvous.Record) {
	given := r.Envelope
	if !p.is("keeps the caller's slice") {
		r.Envelope = slices.Clone(r.Envelope)
	}
	if p.is("cuts envelopes") {
		r.Envelope = r.Envelope[:min(len(r.Envelope), 4096)]
	}
	if p.is("forgets the case of 256 bytes") {
		r.Namespace = r.Namespace[:min(len(r.Namespace), 255)]
	}
	if p.is("ignores what has ended already") && !p.live(r) {
		return
	}
	if at < 0 || p.is("keeps both") {
		p.records = append(p.records, r)
		p.first = append(p.first, r)
		return
	}
	old := p.records[at]
	switch {
	case p.is("keeps the first deadline"):
		r.Deadline = old.Deadline
	case p.is("only extends deadlines") && r.Deadline.Before(old.Deadline):
		r.Deadline = old.Deadline
	case p.is("keeps the first envelope"):
		r.Envelope = old.Envelope
	case p.is("reuses envelopes") && len(given) == len(old.Envelope):
		copy(old.Envelope, given)
		r.Envelope = old.Envelope
	}
	p.records[at] = r
}

func (p *plain) limits(r rendezvous.Record, q rendezvous.Quota) error {
	ofPeer, total := 0, 0
	for _, other := range p.records {
		if !p.live(other) && !p.is("limit counts what has ended") {
			continue
		}
		total++
		if other.Peer == r.Peer {
			ofPeer++
		}
	}
	if p.is("limit off by one") {
		q.PerPeer++
	}
	zero := p.is("zero is a limit")
	if (q.PerPeer > 0 || zero) && ofPeer >= q.PerPeer && !p.is("no limit for a peer") {
		return rendezvous.ErrPeerLimit
	}
	if (q.Total > 0 || zero) && total >= q.Total && !p.is("no limit in total") {
		if p.is("wrong refusal") {
			return rendezvous.ErrPeerLimit
		}
		return rendezvous.ErrFull
	}
	return nil
}

func (p *plain) Sample(ctx context.Context, namespace string, n int) ([]rendezvous.Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(ctx); err != nil {
		return nil, err
	}
	var live []rendezvous.Record
	for _, r := range p.records {
		of := namespace == "" || r.Namespace == namespace
		if p.is("takes prefixes for the namespace") {
			of = strings.HasPrefix(r.Namespace, namespace)
		}
		if of && p.live(r) {
			live = append(live, r)
		}
	}
	return p.draw(namespace, n, live), nil
}

func (p *plain) draw(namespace string, n int, live []rendezvous.Record) []rendezvous.Record {
	if !p.is("always the same") && !p.is("draws neighbours") {
		rand.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	}
	if p.is("draws neighbours") && len(live) > 0 {
		i := rand.IntN(len(live))
		live = append(live[i:len(live):len(live)], live[:i]...)
	}
	byPeer := func(a, b rendezvous.Record) int { return strings.Compare(string(a.Peer), string(b.Peer)) }
	if p.is("prefers one a little") && len(live) > 1 && rand.IntN(20) == 0 {
		i := slices.IndexFunc(live, func(r rendezvous.Record) bool { return r.Peer == slices.MinFunc(live, byPeer).Peer })
		live[0], live[i] = live[i], live[0]
	}
	if p.is("draws a namespace first") && namespace == "" && len(live) > 0 {
		names := make(map[string]bool)
		for _, r := range live {
			names[r.Namespace] = true
		}
		all := slices.Sorted(maps.Keys(names))
		chosen := all[rand.IntN(len(all))]
		slices.SortStableFunc(live, func(a, b rendezvous.Record) int {
			switch {
			case a.Namespace == chosen && b.Namespace != chosen:
				return -1
			case a.Namespace != chosen && b.Namespace == chosen:
				return 1
			}
			return 0
		})
	}
	switch {
	case p.is("one too many"):
		n++
	case p.is("one too few") && n < len(live):
		n--
	}
	n = min(max(n, 0), len(live))
	got := live[:n]
	if p.is("draws in order") {
		slices.SortFunc(got, byPeer)
	}
	if p.is("repeats") && n > 1 {
		got[1] = got[0]
	}
	return got
}

func (p *plain) Counts(ctx context.Context) (rendezvous.Counts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(ctx); err != nil {
		return rendezvous.Counts{}, err
	}
	names, live := make(map[string]bool), 0
	for _, r := range p.records {
		if p.live(r) || p.is("keeps what has ended in memory") {
			live++
			names[r.Namespace] = true
			if p.is("counts peers for namespaces") {
				names[string(r.Peer)] = true
			}
		}
	}
	return rendezvous.Counts{Registrations: live, Namespaces: len(names)}, nil
}

func (p *plain) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed && p.is("second Close fails") {
		return rendezvous.ErrClosed
	}
	p.closed = true
	return nil
}

func (p *plain) reopened() *plain {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	again := newPlain(p.flaw)
	switch {
	case p.is("loses what it acknowledged"):
		again.records = slices.Clone(p.first)
	case p.is("resurrects"):
		for _, r := range p.records {
			r.Deadline = r.Deadline.Add(time.Second)
			again.records = append(again.records, r)
		}
	default:
		again.records = slices.Clone(p.records)
	}
	return again
}
