package main

// The flags of all commands, by name.

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// settings returns all flags of all commands that a configuration file may set. A flag of
// several commands is there once.
func settings(app *cli.Command) []cli.Flag {
	var flags []cli.Flag
	for _, cmd := range app.Commands {
		for _, f := range cmd.Flags {
			if name := f.Names()[0]; name != "config" && !hasFlag(flags, name) {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

func hasFlag(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name })
}

// nearestFlag returns the flag whose name is most like another.
func nearestFlag(flags []cli.Flag, name string) string {
	return strings.TrimLeft(cli.SuggestFlag(flags, name, true), "-")
}
