package points

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnswerBudget leaves room for other answers, and does not believe a relay that says
// it has no limit and limits the connection.
func TestAnswerBudget(t *testing.T) {
	require.Equal(t, defaultRelayData/2, answerBudget(nil))
	require.Equal(t, defaultRelayData/2, answerBudget(uint64(0)))
	require.Equal(t, defaultRelayData/2, answerBudget(uint64(1)<<63))
	require.Equal(t, 500, answerBudget(uint64(1000)))
}

// TestRegistrationSize: fewer registrations are asked for while answers do not come through,
// and as many as fit once one has.
func TestRegistrationSize(t *testing.T) {
	var s registrationSize
	require.Equal(t, 163, s.fit(64<<10, 1000))
	require.Equal(t, 50, s.fit(64<<10, 50))
	s.grow()
	require.Equal(t, 81, s.fit(64<<10, 1000))
	s.add(10, 15_000)
	require.Equal(t, 43, s.fit(64<<10, 1000))
	s.add(0, 10)
	require.Equal(t, 43, s.fit(64<<10, 1000), "an empty answer says nothing")
	s.add(10, 1000)
	require.Equal(t, 163, s.fit(64<<10, 1000))
	for range 20 {
		s.grow()
	}
	require.Equal(t, 8, s.fit(64<<10, 1000))
	require.Equal(t, 1, s.fit(100, 1000))
}
