package points

import "time"

const (
	// probeAfter is how long nothing may come on a connection, while requests wait, before the
	// connection is probed.
	probeAfter = time.Second
	// minProbeTime and maxProbeTime bound how long a connection may take to answer the probe
	// before it counts as dead. It depends on how long the point's answers take. So a request
	// finds out within 2.5 seconds that its connection is dead.
	minProbeTime = 500 * time.Millisecond
	maxProbeTime = 1500 * time.Millisecond
	// slowFactor is how many usual answer times the answer to a probe may take.
	slowFactor = 4
)

// answerTime is how long a point usually takes to answer. It rises at once to a slower
// answer, and falls slowly.
type answerTime time.Duration

func (a *answerTime) add(d time.Duration) {
	*a = max(answerTime(d), *a+(answerTime(d)-*a)/8)
}

// probe returns how long the answer to a probe may take.
func (a *answerTime) probe() time.Duration {
	return min(maxProbeTime, max(minProbeTime, slowFactor*time.Duration(*a)))
}

// rest returns how long the next answer to a batch may take, after the first one. A dead
// connection is noticed sooner.
func (a *answerTime) rest() time.Duration { return probeAfter + a.probe() + minProbeTime }

// within returns how many answers come in a time, one after the other.
func (a *answerTime) within(d time.Duration) int {
	return int(d / max(time.Duration(*a), time.Millisecond))
}
