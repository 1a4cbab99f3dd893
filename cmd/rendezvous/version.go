package main

// The version of the program.

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version returns what the Go toolchain recorded in this program: the version of the
// module or, for a build of a checkout, the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	set := make(map[string]string)
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		if revision := set["vcs.revision"]; len(revision) >= 12 {
			v += "-" + revision[:12]
		}
	}
	return fmt.Sprintf("%s (%s, %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
