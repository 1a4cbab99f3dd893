package storagetest

// A chi-square test of uniformity.

import "math"

// chiSquare returns how far counts are from uniform, chi-square distributed with
// categories-1 degrees of freedom. In each of trials, k different categories were drawn.
// A category that was never drawn may be missing in counts.
func chiSquare[K comparable](counts map[K]int, categories, trials, k int) float64 {
	n, expected := float64(categories), float64(trials*k)/float64(categories)
	// This is the variance of the count of one category, times n/(n-1). The factor
	// accounts for the sum of all counts being fixed.
	variance := float64(trials) * float64(k) / n * (n - float64(k)) / (n - 1)
	sum := float64(categories-len(counts)) * expected * expected / variance
	for _, c := range counts {
		sum += (float64(c) - expected) * (float64(c) - expected) / variance
	}
	return sum
}

// chiSquareLimit returns what chance exceeds once in a million times. It uses the
// approximation of Wilson and Hilferty.
func chiSquareLimit(degreesOfFreedom int) float64 {
	const z = 4.7534 // the same quantile of the normal distribution
	v := 2 / (9 * float64(degreesOfFreedom))
	return float64(degreesOfFreedom) * math.Pow(1-v+z*math.Sqrt(v), 3)
}
