//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// runIP runs ip(8), which has an input of lines with -batch -.
func runIP(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, "ip", args...) //nolint:gosec // the arguments are this program's own
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
