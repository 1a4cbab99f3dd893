package main

// The output of commands: lines, tables, or JSON with one value per line. Everything that
// a command prints goes through the functions here, which make it printable.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"
)

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON, one value per line"}
}

func timeoutFlag(d time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Usage: "give up after `DURATION`", Value: d}
}

func printJSON(w io.Writer, v any) error {
	var line bytes.Buffer
	err := json.NewEncoder(&line).Encode(v)
	if err == nil {
		_, err = w.Write(printableJSON(line.Bytes()))
	}
	if err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}

// printLine prints one line, also if an argument contains line breaks.
func printLine(w io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintln(w, printable(fmt.Sprintf(format, args...))); err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}

// printTable prints rows in aligned columns. The first row is the heading.
func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, printable(cell))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}

// milliseconds returns a duration as a number, for JSON.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// shortDuration formats a duration with about three digits.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// shortNumber formats a number with few characters: 987, 12.3k, 1.2M.
func shortNumber(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 1, 64) + "M"
	case n >= 1e4:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + "k"
	default:
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
}

// maxDisplay is how many characters of a namespace are displayed.
const maxDisplay = 48

// displayNamespace prepares a namespace, which can be any text, for display. It cuts a
// long one, and replaces characters that would reorder or break the text around it.
func displayNamespace(ns string) string {
	runes := []rune(printable(ns))
	if len(runes) > maxDisplay {
		return string(runes[:maxDisplay]) + "…"
	}
	return string(runes)
}

func addrStrings(p peer.AddrInfo) []string {
	addrs := make([]string, 0, len(p.Addrs))
	for _, a := range p.Addrs {
		addrs = append(addrs, a.String())
	}
	return addrs
}
