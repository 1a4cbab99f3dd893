package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTable: a step that fails, or is not tried, fails its row, and the table says why.
func TestTable(t *testing.T) {
	rows := clientRows()
	require.Greater(t, len(rows), 6)
	servers := serverRows()
	require.Len(t, servers, 2)
	for _, r := range append(servers, rows...) {
		require.True(t, r.failed(), "nothing was tried")
		for i := range r.outcomes {
			r.outcomes[i].err = nil
		}
		require.False(t, r.failed())
	}
	var out bytes.Buffer
	printTable(&out, "client", rows)
	require.NotContains(t, out.String(), "FAILED")

	rows[0].outcomes[1].err = errors.New("no answer")
	rows[1].err = errors.New("no point")
	require.True(t, rows[0].failed())
	require.True(t, rows[1].failed())
	out.Reset()
	printTable(&out, "client", rows)
	require.Contains(t, out.String(), "| Node | ws | /canvas/rendezvous/1.0.0 | memory | ok | FAILED | ok |")
	require.Contains(t, out.String(), "\nNode, ws, /canvas/rendezvous/1.0.0, memory: register: no answer\n")
	require.Contains(t, out.String(), "\nNode, ws, /rendezvous/1.0.0, memory: no point\n")
}
