package points

import (
	"sync"
	"time"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

// Silence notices that no point answers searches any more. All methods may be called at the
// same time.
type Silence struct {
	after time.Duration
	// Changed, unless nil, is called when what Err returns has changed between nil and an
	// error. It must not block, and is set before the first search.
	Changed func()
	lines   logging.Limit

	mu    sync.Mutex
	since time.Time // of the first search that failed since a point answered
	last  error     // of the last search, once searches have failed for long enough
}

// NewSilence returns a Silence for points that count as silent once searches have failed for
// that long.
func NewSilence(after time.Duration) *Silence { return &Silence{after: after} }

// Searched records how a search of a namespace has ended, and logs that the points are
// silent, because gossipsub does not show the errors of its discovery.
func (s *Silence) Searched(ns string, err error) {
	silent, changed := s.update(err)
	if changed && s.Changed != nil {
		s.Changed()
	}
	if !silent {
		return
	}
	if n, due := s.lines.Due(); due {
		logging.Log.Error("no rendezvous point answers searches, so this host finds nobody", "namespace", ns, "error", err, "times", n)
	}
}

func (s *Silence) update(err error) (silent, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.last != nil
	switch {
	case err == nil:
		s.since, s.last = time.Time{}, nil
	case s.since.IsZero():
		s.since = time.Now()
	case time.Since(s.since) >= s.after:
		s.last = err
	}
	return s.last != nil, was != (s.last != nil)
}

// Err returns the error of the last search while the points are silent, or nil.
func (s *Silence) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
