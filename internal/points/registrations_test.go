package points

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStaleRegistrations: after the machine slept, a registration that is made at one point
// says nothing about the others.
func TestStaleRegistrations(t *testing.T) {
	r := NewRegistrations("n", func() {})
	envelope := []byte("record")
	r.Begin(envelope)
	r.Set("a", "", envelope, time.Now(), time.Hour, nil)
	r.Set("b", "", envelope, time.Now(), time.Hour, nil)
	require.True(t, r.Live("b", envelope))
	r.SetStale()
	require.True(t, r.Outdated(envelope))
	require.False(t, r.Live("a", envelope))
	r.Set("a", "", envelope, time.Now(), time.Hour, nil)
	require.True(t, r.Live("a", envelope))
	require.False(t, r.Live("b", envelope))
}
