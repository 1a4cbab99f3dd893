package points

import (
	"net"
	"slices"
)

// kernelWatch detects that the IP addresses of the machine have changed. The host itself
// learns of that up to a minute later.
type kernelWatch struct {
	ask  func() ([]net.Addr, error)
	last []string // sorted
}

func newKernelWatch(ask func() ([]net.Addr, error)) *kernelWatch {
	w := &kernelWatch{ask: ask}
	w.moved()
	return w
}

// moved reports whether the machine's addresses have changed since the last call.
func (w *kernelWatch) moved() bool {
	addrs, err := w.ask()
	if err != nil {
		return false
	}
	var now []string
	for _, a := range addrs {
		now = append(now, a.String())
	}
	slices.Sort(now)
	moved := !slices.Equal(w.last, now)
	w.last = now
	return moved
}
