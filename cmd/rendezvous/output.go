package main

// What commands print: JSON, one value a line, or a table.

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"
)

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON, one value a line"}
}

func timeoutFlag(d time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Usage: "give up after `DURATION`", Value: d}
}

func printJSON(w io.Writer, v any) error {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return failf(exitFailed, "print: %w", err)
	}
	return nil
}

// printTable prints rows under a heading, in columns.
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

// millis is a duration in milliseconds, which JSON has no type for.
func millis(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// brief is a duration in three digits or so.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// namespace returns a command's one argument.
func namespace(cmd *cli.Command) (string, error) {
	switch cmd.NArg() {
	case 0:
		return "", usagef("a namespace is needed: rendezvous %s --point MULTIADDR NS", cmd.Name)
	case 1:
		return cmd.Args().First(), nil
	default:
		return "", usagef("one namespace is needed and not %d; flags go before it", cmd.NArg())
	}
}

func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usagef("%s takes no argument %q", cmd.Name, cmd.Args().First())
	}
	return nil
}

// maxShown is how many characters of a namespace are shown to people.
const maxShown = 48

// shown is a namespace, which is any text, as something to look at: cut, and
// without what would turn the text around it or break its line.
func shown(ns string) string {
	runes := []rune(printable(ns))
	if len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return string(runes)
}
