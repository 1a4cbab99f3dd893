package points

import "time"

const (
	// minPatience and maxPatience are how long a connection may stay silent after a
	// request before it counts as dead. It depends on how long the point's answers take.
	minPatience = time.Second
	maxPatience = 3 * time.Second
	// patienceFactor is how many times longer than usual an answer may take.
	patienceFactor = 4
)

// answerTime is how long a point usually takes to answer. It follows slower answers at
// once, and quicker ones slowly.
type answerTime time.Duration

func (a *answerTime) add(d time.Duration) {
	*a = max(answerTime(d), *a+(answerTime(d)-*a)/8)
}

func (a answerTime) patience() time.Duration {
	return min(maxPatience, max(minPatience, patienceFactor*time.Duration(a)))
}
