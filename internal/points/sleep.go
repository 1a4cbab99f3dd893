package points

import "time"

// minSleep is how far the wall clock must have run ahead of Go's monotonic clock to mean
// that the machine was asleep: the monotonic clock stands still then.
const minSleep = 2 * time.Second

// sleepWatch detects by two clocks that the machine has slept.
type sleepWatch struct {
	wall      func() time.Time
	wallStart time.Time
	start     time.Time     // on the monotonic clock
	ahead     time.Duration // of the wall clock, at the last look
}

func newSleepWatch(wall func() time.Time) *sleepWatch {
	return &sleepWatch{wall: wall, wallStart: wall(), start: time.Now()}
}

// slept reports whether the machine has slept since the last call.
func (w *sleepWatch) slept() bool {
	ahead := w.wall().Sub(w.wallStart) - time.Since(w.start)
	slept := ahead-w.ahead >= minSleep
	w.ahead = ahead
	return slept
}
