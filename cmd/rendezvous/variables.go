package main

// Environment variables that look like settings but set nothing.

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

const envPrefix = "RENDEZVOUS_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serviceVariable matches the variables that Docker and Kubernetes set for a service whose
// name begins with "rendezvous".
var serviceVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP).*|ENV_.*)$`)

// unknownVariable is a variable that no flag has, and the most similar one that a
// flag has.
type unknownVariable struct{ name, nearest string }

// unknownVariables returns the variables of this process that look like settings and are
// none, by name.
func unknownVariables(app *cli.Command) []unknownVariable {
	flags := settings(app)
	var unknown []unknownVariable
	for _, setting := range os.Environ() {
		name, _, _ := strings.Cut(setting, "=")
		flag, ours := strings.CutPrefix(name, envPrefix)
		if !ours || name == envName("config") || serviceVariable.MatchString(name) {
			continue
		}
		flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
		if !hasFlag(flags, flag) || name != envName(flag) {
			unknown = append(unknown, unknownVariable{name, envName(nearestFlag(flags, flag))})
		}
	}
	slices.SortFunc(unknown, func(a, b unknownVariable) int { return strings.Compare(a.name, b.name) })
	return unknown
}

// warnOfVariables tells the user about unknown variables.
func warnOfVariables(cmd *cli.Command) {
	for _, v := range unknownVariables(cmd.Root()) {
		warn(cmd.Root().ErrWriter, "no flag has the variable "+v.name+"; the nearest is "+v.nearest)
	}
}
