package points

import "time"

const (
	// minSilence and maxSilence are how long a connection may stay silent after a
	// request before it counts as dead. It depends on how long the point's answers take.
	minSilence = time.Second
	maxSilence = 3 * time.Second
	// silenceFactor is how many times longer than usual an answer may take.
	silenceFactor = 4
)

// answerTime is how long a point usually takes to answer. It rises at once to a slower
// answer, and falls slowly.
type answerTime time.Duration

func (a *answerTime) add(d time.Duration) {
	*a = max(answerTime(d), *a+(answerTime(d)-*a)/8)
}

func (a *answerTime) silence() time.Duration {
	return min(maxSilence, max(minSilence, silenceFactor*time.Duration(*a)))
}

// within returns how many answers come in a time, one after the other.
func (a *answerTime) within(d time.Duration) int {
	return int(d / max(time.Duration(*a), time.Millisecond))
}
