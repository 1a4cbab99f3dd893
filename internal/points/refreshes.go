package points

import (
	"sync"
	"time"
)

// Refreshes plans when registrations are refreshed, those of many namespaces together. The
// zero value is ready for use. All methods may be called at the same time.
type Refreshes struct {
	mu     sync.Mutex
	shared time.Time // when many are to be refreshed together
}

// RefreshWindow returns when to refresh a registration for ttl, counted from when it was
// granted: from 0.45 to 0.6 of the TTL, which leaves time for a second and a third attempt.
func RefreshWindow(ttl time.Duration) (earliest, latest time.Duration) {
	latest = ttl * 3 / 5
	return latest * 3 / 4, latest
}

// After returns how long to wait before a registration is refreshed. It was granted for ttl,
// in answer to a request that began at begun. If others are refreshed at a time within its
// [RefreshWindow], it is refreshed then.
func (r *Refreshes) After(begun time.Time, ttl time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	earliest, latest := RefreshWindow(ttl)
	if after := r.shared.Sub(begun); after < earliest || after > latest {
		r.shared = begun.Add(Jitter(latest))
	}
	return time.Until(r.shared)
}
