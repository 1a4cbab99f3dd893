package limit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecent(t *testing.T) {
	r, now := NewRecent(), time.Now()
	lookup := func(ns, p, envelope string, at time.Time) [2]bool {
		verified, left, _ := r.Lookup(ns, nth(len(p)), []byte(envelope), at)
		return [2]bool{verified, left > 0}
	}
	require.Equal(t, [2]bool{}, lookup("n", "p", "e", now))
	r.Add("n", nth(1), []byte("e"), now.Add(time.Second), now)
	require.Equal(t, [2]bool{true, true}, lookup("n", "p", "e", now))
	require.Equal(t, [2]bool{true, false}, lookup("m", "p", "e", now), "another namespace")
	require.Equal(t, [2]bool{}, lookup("n", "p", "f", now), "another envelope")
	require.Equal(t, [2]bool{}, lookup("n", "pp", "e", now), "another peer")
	require.Equal(t, [2]bool{}, lookup("n", "p", "e", now.Add(time.Second)), "it has ended")
	r.Add("n", nth(1), []byte("e"), now.Add(time.Minute), now.Add(time.Second))
	_, _, age := r.Lookup("n", nth(1), []byte("e"), now.Add(3*time.Second))
	require.Equal(t, 2*time.Second, age)
	r.Sweep(now.Add(time.Minute))
	require.Empty(t, r.young)
}

// TestRecentShortened: the last registration in a namespace decides how long it is live
// there, also if it ends sooner than the one before. The envelope stays verified.
func TestRecentShortened(t *testing.T) {
	r, now := NewRecent(), time.Now()
	r.Add("n", "p", []byte("e"), now.Add(time.Minute), now)
	for i := range maxRecent/2 + 1 { // the first entries are in the old generation now
		r.Add("n", nth(i), nil, now.Add(time.Minute), now)
	}
	r.Add("n", "p", []byte("e"), now.Add(time.Second), now)
	verified, left, _ := r.Lookup("n", "p", []byte("e"), now)
	require.True(t, verified)
	require.Equal(t, time.Second, left)
	r.Sweep(now.Add(time.Second))
	verified, left, _ = r.Lookup("n", "p", []byte("e"), now.Add(time.Second))
	require.True(t, verified)
	require.LessOrEqual(t, left, time.Duration(0), "the old generation does not bring it back")
}

// TestRecentIsBounded: what is refreshed stays, however much else there is.
func TestRecentIsBounded(t *testing.T) {
	r, now := NewRecent(), time.Now()
	for i := range 2 * maxRecent {
		if i%10_000 == 0 {
			r.Add("n", "p", []byte("e"), now.Add(time.Minute), now)
		}
		r.Add("n", nth(i), nil, now.Add(time.Minute), now)
		require.LessOrEqual(t, len(r.young)+len(r.old), 2*maxRecent+2)
	}
	_, left, _ := r.Lookup("n", "p", []byte("e"), now)
	require.Positive(t, left)
	_, left, _ = r.Lookup("n", nth(0), nil, now)
	require.LessOrEqual(t, left, time.Duration(0))
	r.Sweep(now.Add(time.Hour))
	require.Empty(t, r.young)
	require.Empty(t, r.old)
}
