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
	const width = 40
	full := min(width, done*width/max(total, 1))
	fmt.Fprintf(b.w, "\r%-12s [%s%s] %d/%d", label, strings.Repeat("#", full), strings.Repeat(".", width-full), done, total)
}

func (b *progressBar) clear() { fmt.Fprint(b.w, "\r\x1b[K") }
