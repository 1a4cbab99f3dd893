package main

import "context"

// step is a column of a table: a promise, and how it is checked with an S.
type step[S any] struct {
	name   string
	do     func(S, context.Context) error
	needed bool // without it the others cannot be checked
}

// withSteps gives rows an outcome for each step, with nothing tried yet.
func withSteps[S any](rows []*row, steps []step[S]) []*row {
	for _, r := range rows {
		for _, s := range steps {
			r.outcomes = append(r.outcomes, outcome{step: s.name, err: errNotTried})
		}
	}
	return rows
}

// try takes the steps of a row in order.
func try[S any](ctx context.Context, r *row, steps []step[S], with S) {
	for i, s := range steps {
		r.outcomes[i].err = s.do(with, ctx)
		if r.outcomes[i].err != nil && s.needed {
			break
		}
	}
}
