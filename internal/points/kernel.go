package points

import (
	"net"
	"slices"

	"github.com/status-im/go-waku-rendezvous/internal/ifaddrs"
)

// kernelWatch detects that the IP addresses of the machine have changed. The host itself
// learns of that up to a minute later.
type kernelWatch struct {
	ask  func() ([]net.Addr, error)
	last []net.Addr // its last answer
	had  []string   // the same, sorted
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
	if ifaddrs.Same(addrs, w.last) {
		return false
	}
	w.last = addrs
	var now []string
	for _, a := range addrs {
		now = append(now, a.String())
	}
	slices.Sort(now)
	moved := !slices.Equal(w.had, now)
	w.had = now
	return moved
}
