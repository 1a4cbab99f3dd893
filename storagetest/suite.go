package storagetest

// What the checks are written with.

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// suite is what a check works with: the storage, and where to report to.
type suite struct {
	reporter
	config
	rendezvous.Storage
	t *testing.T
}

const many = math.MaxInt

var unlimited = rendezvous.Quota{}

// ttl is a lifetime long enough that nothing ends while a check works.
func (s *suite) ttl() time.Duration {
	if s.realTime {
		return time.Minute
	}
	return 20 * time.Second
}

// short is a lifetime to be waited for, and shorter ends well before it.
func (s *suite) short() time.Duration {
	if s.realTime {
		return 2 * time.Second
	}
	return 20 * time.Second
}

func (s *suite) shorter() time.Duration { return s.short() / 2 }

// before is how long before a deadline a record must still be there: as short as
// the storage is exact, but by the real clock this process may be late itself.
func (s *suite) before() time.Duration {
	if s.realTime {
		return 400 * time.Millisecond
	}
	return s.resolution
}

// in is a deadline so long from now, to the storage's resolution.
func (s *suite) in(d time.Duration) time.Time {
	now := time.Now()
	wall := now.Add(d)
	return wall.Add(-time.Duration(wall.UnixNano() % int64(s.resolution)))
}

func (s *suite) sleepUntil(deadline time.Time) { time.Sleep(time.Until(deadline)) }

// settle waits until whatever the storage does by itself is done.
func (s *suite) settle() { time.Sleep(5 * time.Second) }

func (s *suite) record(ns string, p peer.ID, deadline time.Time) rendezvous.Record {
	return rendezvous.Record{Namespace: ns, Peer: p, Envelope: envelope(ns, p), Deadline: deadline}
}

// envelope is some bytes that no other registration has.
func envelope(ns string, p peer.ID) []byte { return fmt.Appendf(nil, "envelope of %q in %q", p, ns) }

func (s *suite) add(r rendezvous.Record, q rendezvous.Quota) {
	s.Helper()
	if err := s.Add(s.Context(), r, q); err != nil {
		s.Fatalf("Add(%q, %q, quota %+v): %v", r.Namespace, r.Peer, q, err)
	}
}

func (s *suite) refused(r rendezvous.Record, q rendezvous.Quota, want error) {
	s.Helper()
	if err := s.Add(s.Context(), r, q); !errors.Is(err, want) {
		s.Errorf("Add(%q, %q, quota %+v): got %v, want %v", r.Namespace, r.Peer, q, err, want)
	}
}

// sample draws, and checks what holds for every sample whatsoever.
func (s *suite) sample(ns string, n int) []rendezvous.Record {
	s.Helper()
	asked := time.Now()
	got, err := s.Sample(s.Context(), ns, n)
	if err != nil {
		s.Fatalf("Sample(%q, %d): %v", ns, n, err)
	}
	if len(got) > max(n, 0) {
		s.Errorf("Sample(%q, %d) returned %d records", ns, n, len(got))
	}
	seen := make(map[[2]string]bool, len(got))
	for _, r := range got {
		key := [2]string{r.Namespace, string(r.Peer)}
		switch {
		case seen[key]:
			s.Errorf("Sample(%q, %d) repeats %q in %q", ns, n, r.Peer, r.Namespace)
		case ns != "" && r.Namespace != ns:
			s.Errorf("Sample(%q, %d) returned a record of %q", ns, n, r.Namespace)
		case !r.Deadline.After(asked):
			s.Errorf("Sample(%q, %d) returned a record that had ended %v before", ns, n, asked.Sub(r.Deadline))
		}
		seen[key] = true
	}
	return got
}

// holds checks that exactly want is live in a namespace, or in all for "".
func (s *suite) holds(ns string, want ...rendezvous.Record) {
	s.Helper()
	got := s.sample(ns, many)
	if now := time.Now(); s.realTime {
		// This process may have been late to ask for what was about to end.
		want = slices.DeleteFunc(slices.Clone(want), func(r rendezvous.Record) bool {
			there := func(o rendezvous.Record) bool { return s.same(o, r) }
			return !r.Deadline.After(now) && !slices.ContainsFunc(got, there)
		})
	}
	order := func(a, b rendezvous.Record) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Peer, b.Peer))
	}
	slices.SortFunc(got, order)
	want = slices.SortedFunc(slices.Values(want), order)
	if !slices.EqualFunc(got, want, s.same) {
		s.Errorf("%q holds\n\t%v\nwant\n\t%v", ns, show(got), show(want))
	}
}

func (s *suite) same(a, b rendezvous.Record) bool {
	return a.Namespace == b.Namespace && a.Peer == b.Peer && bytes.Equal(a.Envelope, b.Envelope) &&
		s.sameTime(a.Deadline, b.Deadline)
}

// sameTime allows for two clocks by the real one: the storage's may be elsewhere.
func (s *suite) sameTime(a, b time.Time) bool {
	tolerance := s.resolution - 1
	if s.realTime {
		tolerance += 100 * time.Millisecond
	}
	return a.Sub(b).Abs() <= tolerance
}

func show(records []rendezvous.Record) []string {
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = fmt.Sprintf("%.40q in %.40q, %d bytes %.20q, ends in %v",
			r.Peer, r.Namespace, len(r.Envelope), r.Envelope, time.Until(r.Deadline))
	}
	return lines
}

// testPeer returns the i-th of many peers, with an ID as those of Ed25519 keys:
// all begin with the same six bytes.
func testPeer(i int) peer.ID {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return peer.ID("\x00\x24\x08\x01\x12\x20" + string(key[:]))
}

// expectUniform checks that each of the want categories was counted as often as
// the others, but for what chance does: a chi-square test at one in a million.
// Of each of trials, k categories were drawn without repeats.
func expectUniform[K comparable](s *suite, what string, counts map[K]int, want, trials, k int) {
	s.Helper()
	if len(counts) > want {
		s.Fatalf("%s: %d different outcomes, want %d", what, len(counts), want)
	}
	n, expected := float64(want), float64(trials*k)/float64(want)
	// The variance of how often one is drawn, times n/(n-1): with that, the sum
	// of squares is chi-square distributed with n-1 degrees of freedom.
	variance := float64(trials) * float64(k) / n * (n - float64(k)) / (n - 1)
	square := float64(want-len(counts)) * expected * expected / variance
	for _, c := range counts {
		square += (float64(c) - expected) * (float64(c) - expected) / variance
	}
	if limit := chiSquareLimit(want - 1); square > limit {
		s.Errorf("%s: chi-square %.0f over %d outcomes, at most %.0f would be chance", what, square, want, limit)
	}
}

// chiSquareLimit is what chi-square with so many degrees of freedom exceeds once in
// a million (Wilson and Hilferty's approximation).
func chiSquareLimit(degrees int) float64 {
	const z = 4.7534 // of the normal distribution
	v := 2 / (9 * float64(degrees))
	return float64(degrees) * math.Pow(1-v+z*math.Sqrt(v), 3)
}
