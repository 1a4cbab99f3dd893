package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemo: three peers join, and one leaves.
func TestDemo(t *testing.T) {
	t.Parallel() // it waits until a registration expires
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

func TestUnexpectedArgument(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"nowhere"}, io.Discard), `unexpected argument "nowhere"`)
}
