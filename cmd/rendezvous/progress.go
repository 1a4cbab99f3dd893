package main

// A progress bar for terminals.

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progressBar draws on a terminal. It prints nothing anywhere else.
type progressBar struct{ w io.Writer }

func newProgressBar(w io.Writer) *progressBar {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progressBar{w}
		}
	}
	return &progressBar{io.Discard}
}

func (b *progressBar) show(label string, done, total int) {
	fmt.Fprint(b.w, "\r"+progressLine(label, done, total))
}

// progressLine fits into 40 columns. The next line would not overwrite one that is longer
// than the terminal is wide.
func progressLine(label string, done, total int) string {
	const width = 20
	total = max(total, 1)
	done = min(done, total)
	full := int(int64(done) * width / int64(total))
	return fmt.Sprintf("%-10s [%s%s] %3d%%", label, strings.Repeat("#", full), strings.Repeat(".", width-full), int64(done)*100/int64(total))
}

func (b *progressBar) clear() { fmt.Fprint(b.w, "\r\x1b[K") }
