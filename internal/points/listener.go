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

// Stop ends the listener. It does not block. If it is the last listener, the channel that it
// returns is closed when the goroutine of the listeners has ended. Otherwise the channel is
// closed already.
func (l *Listener) Stop() <-chan struct{} { return l.all.remove(l) }

// listeners are the listeners of a set. All share one subscription to the host's events, and
// one goroutine, which runs while there is a listener.
type listeners struct {
	beginning sync.Mutex // held while the first listener begins; wake does not need it

	mu    sync.Mutex
	all   []*Listener   // replaced, never written to
	stop  chan struct{} // closed to end the goroutine
	ended chan struct{} // closed when it has ended
}

// add adds a listener. The first one needs the wake-ups that begin returns. mu is not held
// while begin subscribes to the host's events: the bus may wait until the goroutine of earlier
// listeners has taken its events, and that goroutine may need mu to go on.
func (ls *listeners) add(l *Listener, begin func() (*wakeups, error)) error {
	ls.beginning.Lock()
	defer ls.beginning.Unlock()
	if ls.join(l) {
		return nil
	}
	w, err := begin()
	if err != nil {
		return err
	}
	ls.start(l, w)
	return nil
}

// join adds a listener unless it is the first one.
func (ls *listeners) join(l *Listener) (joined bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.all) == 0 {
		return false
	}
	ls.all = append(slices.Clone(ls.all), l)
	return true
}

// start adds the first listener and starts the goroutine.
func (ls *listeners) start(l *Listener, w *wakeups) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	stop, ended := make(chan struct{}), make(chan struct{})
	ls.all, ls.stop, ls.ended = []*Listener{l}, stop, ended
	go func() {
		defer close(ended)
		w.run(stop, ls.wake)
	}()
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
