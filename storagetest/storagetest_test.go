package storagetest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// flawRow is a flaw, and a part of the name of a check that finds it.
type flawRow struct{ flaw, found string }

// TestChecksFindFlaws checks that a correct storage passes, and that each flaw makes a check
// fail whose name contains the text in found.
func TestChecksFindFlaws(t *testing.T) {
	for _, row := range append(pagerFlaws, []flawRow{
		{"", ""},
		{"never expires", "live before its deadline"},
		{"expires a nanosecond late", "live before its deadline"},
		{"expires a nanosecond early", "live before its deadline"},
		{"ignores new deadlines", "moves the deadline"},
		{"only extends deadlines", "moves the deadline"},
		{"ignores new envelopes", "replaces"},
		{"adds instead of replacing", "replaces"},
		{"ignores deadlines in the past", "in the past"},
		{"truncates envelopes", "comes back"},
		{"matches namespaces by prefix", "arbitrary bytes"},
		{"ends namespaces at a zero byte", "arbitrary bytes"},
		{"concatenates namespace and peer", "arbitrary bytes"},
		{"truncates namespaces to 255 bytes", "arbitrary bytes"},
		{"samples in a fixed order", "is uniform"},
		{"prefers one record slightly", "is uniform"},
		{"samples neighbours", "over pairs"},
		{"sorts samples", "first record"},
		{"draws a namespace first", "over all namespaces"},
		{"repeats a record", "has n records"},
		{"returns one too many", "has n records"},
		{"returns one too few", "has n records"},
		{"counts refreshes against limits", "refresh at the limit"},
		{"has no limit per peer", "limit per peer"},
		{"has no limit in total", "limit in total"},
		{"has a limit off by one", "limit per peer"},
		{"checks limits in a separate step", "many add at once"},
		{"checks origins in a separate step", "many add at once"},
		{"checks bytes in a separate step", "many add at once"},
		{"counts expired records against limits", "against no limit"},
		{"refreshes expired records", "added again is new"},
		{"ignores origins", "limit per origin"},
		{"ignores a /56", "wide networks"},
		{"ignores a /48", "wide networks"},
		{"moves to a full origin", "moves to the origin"},
		{"never moves a refresh", "moves to the origin"},
		{"counts expired records for origins", "counts for no origin"},
		{"has no limit of bytes", "limit of bytes"},
		{"lets any refresh grow", "limit of bytes"},
		{"refuses refreshes over the bytes", "limit of bytes"},
		{"counts only envelopes", "limit of bytes"},
		{"counts refreshes against limits", "limit of bytes"},
		{"draws without a bound in bytes", "stops at a number of bytes"},
		{"does not count namespaces in a sample", "stops at a number of bytes"},
		{"draws one beyond the bytes", "stops at a number of bytes"},
		{"takes zero for a limit", "limit of zero"},
		{"returns the wrong limit's error", "limit in total"},
		{"stores the caller's slice", "copies the envelope"},
		{"reuses envelopes", "never change"},
		{"ignores contexts", "context"},
		{"stores with an ended context", "context"},
		{"counts peers as namespaces", "Counts"},
		{"never removes expired records", "takes no memory"},
		{"fails on a second Close", "idempotent"},
		{"works after Close", "closed storage"},
		{"loses refreshes on reopening", "survive"},
		{"extends deadlines on reopening", "survive"},
	}...) {
		t.Run(strings.ReplaceAll(row.flaw, " ", "_"), func(t *testing.T) {
			failed := failures(t, row.flaw, row.found)
			switch {
			case row.flaw == "" && len(failed) > 0:
				t.Errorf("a correct storage fails: %v", failed)
			case row.flaw != "" && len(failed) == 0:
				t.Errorf("a storage that %s passes the checks with %q in their name", row.flaw, row.found)
			}
			for name, message := range failed {
				t.Logf("%s: %s", name, message)
			}
		})
	}
}

// failures runs the checks whose names contain match against a storage with a flaw. It
// returns the first message of each check that fails, by the name of the check.
func failures(t *testing.T, flaw, match string) map[string]string {
	t.Helper()
	reopen := func(t *testing.T, s rendezvous.Storage) rendezvous.Storage {
		t.Helper()
		f, ok := s.(*flawedPager)
		if !ok {
			t.Fatalf("cannot reopen a %T", s)
		}
		return f.reopened()
	}
	failed := make(map[string]string)
	for _, c := range checks {
		if !strings.Contains(c.name, match) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{t: t}
			var wg sync.WaitGroup
			wg.Go(func() { // recorder.Fatalf ends this goroutine, not the test
				run(t, r, c, newConfig([]Option{Reopen(reopen)}), func(*testing.T) rendezvous.Storage {
					return newFlawedPager(flaw)
				})
			})
			wg.Wait()
			if len(r.messages) > 0 {
				failed[c.name] = r.messages[0]
			}
		})
	}
	return failed
}

// recorder is a reporter that records messages and does not fail the test.
type recorder struct {
	t        *testing.T
	mu       sync.Mutex
	messages []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.t.Context() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages) < 10 {
		r.messages = append(r.messages, fmt.Sprintf(format, args...))
	}
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
