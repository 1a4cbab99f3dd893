//go:build race

package rendezvous

// raceDetector makes all code about ten times slower.
const raceDetector = true
