//go:build linux

package main

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinesRoundTrip(t *testing.T) {
	lines := []line{
		{Time: 1, Kind: kindMesh, Peers: []string{"x", "y"}},
		{Time: 2, Kind: kindSearch, Began: 1, Peers: []string{"x"}, Asked: map[string]bool{"x": true}, Found: map[string][]found{
			"y": {{Time: 2, Addrs: []string{"/ip4/192.0.0.150/tcp/4101"}}},
		}},
		{Time: 3, Kind: kindWatch, Peer: "x"},
		{Time: 4, Kind: kindNoAnswer, Point: "p1", Began: 3, Text: "connect: \n refused"},
	}
	var out bytes.Buffer
	p := newPrinter(&out)
	for _, l := range lines {
		p.print(l)
	}
	var read []line
	for s := bufio.NewScanner(&out); s.Scan(); {
		l, err := parseLine(s.Bytes())
		require.NoError(t, err)
		read = append(read, l)
	}
	require.Equal(t, lines, read)
}

func TestPrintedLinesHaveATime(t *testing.T) {
	var out bytes.Buffer
	before := now()
	newPrinter(&out).print(line{Kind: kindReady})
	l, err := parseLine(bytes.TrimSpace(out.Bytes()))
	require.NoError(t, err)
	require.GreaterOrEqual(t, l.Time, before)
	require.LessOrEqual(t, l.Time, now())
}

func TestUnreadableLines(t *testing.T) {
	for _, text := range []string{
		``, `panic: runtime error`, `{"t":1,"kind":"mesh"`, `[]`, `{}`, `{"t":1}`, `{"kind":"mesh"}`,
		`{"t":"now","kind":"mesh"}`, `{"t":1,"kind":"watch"}`, `{"t":1,"kind":"message"}`, `{"t":1,"kind":"closed"}`,
	} {
		_, err := parseLine([]byte(text))
		require.ErrorContains(t, err, "read line", text)
	}
}
