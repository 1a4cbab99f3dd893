package main

// The targets.

import "fmt"

// targets counts the targets that were missed.
type targets struct{ missed int }

// check prints a line with the verdict on a target.
func (t *targets) check(met bool, format string, args ...any) {
	verdict := "ok"
	if !met {
		verdict = "NOT MET"
		t.missed++
	}
	fmt.Printf(format+"  %s\n", append(args, verdict)...)
}
