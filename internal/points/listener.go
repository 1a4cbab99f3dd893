package points

import (
	"slices"
	"sync"
)

// Listener is told when something has happened that may call for a request now.
// [Set.Listen] makes one.
type Listener struct {
	all  *listeners
	wake func(slept bool)
}

// Stop ends the listener. It does not block. The channel that it returns is closed when
// nothing runs any more for this listener alone.
func (l *Listener) Stop() <-chan struct{} { return l.all.remove(l) }

// listeners are the listeners of a set. All share one subscription to the host's events, and
// one goroutine, which runs while there is a listener.
type listeners struct {
	mu    sync.Mutex
	all   []*Listener   // replaced, never written to
	stop  chan struct{} // closed to end the goroutine
	ended chan struct{} // closed when it has ended
}

// add adds a listener. The first one needs the wake-ups that begin returns.
func (ls *listeners) add(l *Listener, begin func() (*wakeups, error)) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.all) == 0 {
		w, err := begin()
		if err != nil {
			return err
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		ls.stop, ls.ended = stop, ended
		go func() {
			defer close(ended)
			w.run(stop, ls.wake)
		}()
	}
	ls.all = append(slices.Clone(ls.all), l)
	return nil
}

func (ls *listeners) remove(l *Listener) <-chan struct{} {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all = slices.DeleteFunc(slices.Clone(ls.all), func(other *Listener) bool { return other == l })
	if len(ls.all) == 0 {
		close(ls.stop)
		return ls.ended
	}
	nothing := make(chan struct{})
	close(nothing)
	return nothing
}

func (ls *listeners) wake(slept bool) {
	ls.mu.Lock()
	all := ls.all
	ls.mu.Unlock()
	for _, l := range all {
		l.wake(slept)
	}
}
