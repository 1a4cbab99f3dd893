package storagetest

// What the checks are written with.

import (
	"bytes"
	"cmp"
	"context"
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

// reporter is the part of [testing.TB] that a check needs.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// suite has what one check needs: the storage under test, and where to report failures.
type suite struct {
	reporter
	config
	rendezvous.Storage
	t *testing.T
}

// allRecords as the size of a sample asks for all of them.
const allRecords = math.MaxInt

var unlimited = rendezvous.Quota{}

// ttl is a lifetime that does not end during a check.
func (s *suite) ttl() time.Duration {
	if s.realTime {
		return time.Minute
	}
	return 20 * time.Second
}

// short is a lifetime whose end a check can wait for.
func (s *suite) short() time.Duration {
	if s.realTime {
		return 2 * time.Second
	}
	return 20 * time.Second
}

// shorter is a lifetime that ends well before short.
func (s *suite) shorter() time.Duration { return s.short() / 2 }

// margin is how long before a deadline a check asks for a record that must still be
// there. In real time, the process may be late.
func (s *suite) margin() time.Duration {
	if s.realTime {
		return 400 * time.Millisecond
	}
	return s.resolution
}

// draws is how many samples a check of uniformity draws. More are not needed: mistakes make
// samples far from uniform. In real time a sample takes longer.
func (s *suite) draws() int {
	if s.realTime {
		return 1000
	}
	return 5000
}

// after returns the deadline of a lifetime that begins now, rounded to the storage's
// resolution.
func (s *suite) after(lifetime time.Duration) time.Time {
	deadline := time.Now().Add(lifetime)
	return deadline.Add(-time.Duration(deadline.UnixNano() % int64(s.resolution)))
}

func (s *suite) sleepUntil(deadline time.Time) { time.Sleep(time.Until(deadline)) }

// sleepUntilRemoved waits as long as a storage may take to remove expired records.
func (s *suite) sleepUntilRemoved() { time.Sleep(5 * time.Second) }

func (s *suite) record(ns string, p peer.ID, deadline time.Time) rendezvous.Record {
	return rendezvous.Record{Namespace: ns, Peer: p, Envelope: envelope(ns, p), Deadline: deadline}
}

// envelope returns different bytes for each registration.
func envelope(ns string, p peer.ID) []byte { return fmt.Appendf(nil, "envelope of %q in %q", p, ns) }

// testPeer returns an ID for each i, as of an Ed25519 key. The first six bytes of all of them
// are equal.
func testPeer(i int) peer.ID {
	key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return peer.ID("\x00\x24\x08\x01\x12\x20" + string(key[:]))
}

func (s *suite) add(r rendezvous.Record, q rendezvous.Quota) {
	s.Helper()
	if err := s.Add(s.Context(), r, q); err != nil {
		s.Fatalf("Add(%q, %q, quota %+v): %v", r.Namespace, r.Peer, q, err)
	}
}

// addPeers adds the peers from..to-1 to a namespace.
func (s *suite) addPeers(ns string, from, to int) {
	s.Helper()
	for i := from; i < to; i++ {
		s.add(s.record(ns, testPeer(i), s.after(s.ttl())), unlimited)
	}
}

func (s *suite) expectRefused(r rendezvous.Record, q rendezvous.Quota, want error) {
	s.Helper()
	if err := s.Add(s.Context(), r, q); !errors.Is(err, want) {
		s.Errorf("Add(%q, %q, quota %+v): got %v, want %v", r.Namespace, r.Peer, q, err, want)
	}
}

// sample returns a sample, after it has checked what holds for every sample.
func (s *suite) sample(ns string, n int) []rendezvous.Record {
	s.Helper()
	called := time.Now()
	got, err := s.Sample(s.Context(), ns, n, 0)
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
			s.Errorf("Sample(%q, %d) returned %q in %q twice", ns, n, r.Peer, r.Namespace)
		case ns != "" && r.Namespace != ns:
			s.Errorf("Sample(%q, %d) returned a record of %q", ns, n, r.Namespace)
		case !r.Deadline.After(called):
			s.Errorf("Sample(%q, %d) returned a record that had expired %v before", ns, n, called.Sub(r.Deadline))
		}
		seen[key] = true
	}
	return got
}

// expectRecords checks that exactly want is live in a namespace, or in all for "".
func (s *suite) expectRecords(ns string, want ...rendezvous.Record) {
	s.Helper()
	got := s.sample(ns, allRecords)
	if now := time.Now(); s.realTime {
		// The process may have been late to ask. Then a record that has expired by
		// now may be missing.
		want = slices.DeleteFunc(slices.Clone(want), func(r rendezvous.Record) bool {
			equal := func(other rendezvous.Record) bool { return s.equal(other, r) }
			return !r.Deadline.After(now) && !slices.ContainsFunc(got, equal)
		})
	}
	got, want = sorted(got), sorted(want)
	if !slices.EqualFunc(got, want, s.equal) {
		s.Errorf("%q has\n\t%v\nwant\n\t%v", ns, format(got), format(want))
	}
}

// sorted returns records in the order of their namespaces and peers.
func sorted(records []rendezvous.Record) []rendezvous.Record {
	return slices.SortedFunc(slices.Values(records), func(a, b rendezvous.Record) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Peer, b.Peer))
	})
}

func (s *suite) equal(a, b rendezvous.Record) bool {
	// In real time, the deadline may be by the clock of another process. How far that
	// clock is off is known only as exactly as the machine was fast to ask.
	tolerance := s.resolution - 1
	if s.realTime {
		tolerance += 250 * time.Millisecond
	}
	return a.Namespace == b.Namespace && a.Peer == b.Peer && bytes.Equal(a.Envelope, b.Envelope) &&
		a.Deadline.Sub(b.Deadline).Abs() <= tolerance
}

func format(records []rendezvous.Record) []string {
	lines := make([]string, len(records))
	for i, r := range records {
		lines[i] = fmt.Sprintf("%.40q in %.40q, %d bytes %.20q, expires in %v",
			r.Peer, r.Namespace, len(r.Envelope), r.Envelope, time.Until(r.Deadline))
	}
	return lines
}

func (s *suite) expectCounts(registrations, namespaces int) {
	s.Helper()
	got, err := s.Counts(s.Context())
	if want := (rendezvous.Counts{Registrations: registrations, Namespaces: namespaces}); err != nil || got != want {
		s.Errorf("Counts: got %+v, %v, want %+v", got, err, want)
	}
}

// expectUniformSample checks that samples of n of the live records of a namespace are
// uniform.
func (s *suite) expectUniformSample(what, ns string, n, live int) {
	s.Helper()
	counts := make(map[[2]string]int)
	for range s.draws() {
		for _, r := range s.sample(ns, n) {
			counts[[2]string{r.Namespace, string(r.Peer)}]++
		}
	}
	expectUniform(s, what, counts, live, n)
}

// expectUniform checks that each of the categories was drawn equally often, except by
// chance. In each of s.draws() trials, k different categories were drawn.
func expectUniform[K comparable](s *suite, what string, counts map[K]int, categories, k int) {
	s.Helper()
	if len(counts) > categories {
		s.Fatalf("%s: got %d different outcomes, want %d", what, len(counts), categories)
	}
	got, limit := chiSquare(counts, categories, s.draws(), k), chiSquareLimit(categories-1)
	if got > limit {
		s.Errorf("%s: not uniform: chi-square of %d outcomes is %.0f, want at most %.0f", what, categories, got, limit)
	}
}
