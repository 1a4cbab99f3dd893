//go:build linux

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		err  string
	}{
		"a list":                 {args: []string{"-list"}},
		"an unknown flag":        {args: []string{"-fast"}, code: 2},
		"no regular expression":  {args: []string{"-run", "("}, code: 2, err: "flag -run"},
		"no such fault":          {args: []string{"-run", "earthquake"}, code: 2, err: `no fault matches "earthquake"`},
		"an argument":            {args: []string{"-list=false", "nat-flush"}, code: 2, err: "see -help"},
		"none at the same time":  {args: []string{"-parallel", "0"}, code: 2, err: "see -help"},
		"a program by itself":    {args: []string{"peer", "{}"}, err: "only in the sandbox"},
		"an observer by itself":  {args: []string{"observe", "{}"}, err: "only in the sandbox"},
		"a hostile one likewise": {args: []string{"hostile", "{}"}, err: "only in the sandbox"},
	} {
		t.Run(name, func(t *testing.T) {
			code, err := execute(t.Context(), test.args)
			require.Equal(t, test.code, code)
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.err)
			}
		})
	}
}

func TestFaultsHaveNamesAndGroups(t *testing.T) {
	names := make(map[string]bool)
	for _, f := range faults {
		require.NotEmpty(t, f.title, f.name)
		require.False(t, names[f.name], "%s twice", f.name)
		names[f.name] = true

		l := newLayout(f.layout)
		seen := make(map[string]bool)
		for _, g := range f.groups(&topology{layout: l}) {
			require.NotEmpty(t, g.nodes, f.name)
			for _, n := range g.nodes {
				require.False(t, seen[n.name], "%s: %s is in two groups", f.name, n.name)
				seen[n.name] = true
			}
		}
	}
}
