package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemonstration: three join, and one leaves.
func TestDemonstration(t *testing.T) {
	t.Parallel() // it waits for a registration to end
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out))
	require.Equal(t, 3, strings.Count(out.String(), " joined, at "), out.String())
	require.Equal(t, 1, strings.Count(out.String(), " left\n"), out.String())
}

func TestBadAddress(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), []string{"-point", "nowhere"}, io.Discard)
	require.ErrorContains(t, err, `-point "nowhere"`)
}

func TestSurplusArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, io.Discard), `no argument "nowhere"`)
}
