package main

// Which version of the program this is.

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is what the Go toolchain noted when it built this program: the module's
// version, or the commit of a checkout.
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
