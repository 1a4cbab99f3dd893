package points

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSilence: points are silent once searches have failed for long enough, until one
// answers.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSilence(20 * time.Second)
		changes := 0
		s.Changed = func() { changes++ }
		first, second := errors.New("the first"), errors.New("the second")
		for _, step := range []struct {
			name    string
			wait    time.Duration
			err     error
			want    error
			changes int
		}{
			{"a failure", time.Hour, first, nil, 0},
			{"not for long enough", 19 * time.Second, first, nil, 0},
			{"for long enough", time.Second, first, first, 1},
			{"for another reason", time.Second, second, second, 1},
			{"an answer", time.Second, nil, nil, 2},
			{"time counts from the next failure on", time.Hour, first, nil, 2},
			{"an answer in between", 10 * time.Second, nil, nil, 2},
			{"a failure again", 10 * time.Second, first, nil, 2},
			{"silent again", 20 * time.Second, second, second, 3},
		} {
			time.Sleep(step.wait)
			s.Searched("n", step.err)
			require.Equal(t, step.want, s.Err(), step.name)
			require.Equal(t, step.changes, changes, step.name)
		}
	})
}
