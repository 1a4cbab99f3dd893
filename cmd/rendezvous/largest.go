package main

// The biggest namespaces, for the status page.

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	largestShown = 10
	largestEvery = 2 * time.Second
	// largestSample is how many registrations are looked at. In so many, a
	// namespace that has a hundredth of all is seen some twenty times.
	largestSample = 2000
)

// namespaceSize is how many registrations a namespace has, for people.
type namespaceSize struct {
	Namespace     string
	Registrations string
}

// largest finds the biggest namespaces in a random sample of all registrations,
// which costs any storage the same, however many there are. It remembers them for
// a moment, since anybody who may see the page may reload it.
type largest struct {
	storage rendezvous.Storage

	mu   sync.Mutex
	at   time.Time // when the storage was last asked, by one at a time
	list []namespaceSize
}

// get returns them. While they cannot be found, or somebody else is at it, those of
// before are better than none.
func (l *largest) get(ctx context.Context) []namespaceSize {
	l.mu.Lock()
	list, due := l.list, time.Since(l.at) >= largestEvery
	if due {
		l.at = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return list
	}
	found, err := l.find(ctx)
	if err != nil {
		return list
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = found
	return found
}

func (l *largest) find(ctx context.Context) ([]namespaceSize, error) {
	ctx, cancel := context.WithTimeout(ctx, largestEvery/2)
	defer cancel()
	counts, err := l.storage.Counts(ctx)
	if err != nil {
		return nil, err
	}
	sample, err := l.storage.Sample(ctx, "", largestSample)
	if err != nil {
		return nil, err
	}
	return namespaceSizes(sample, counts.Registrations), nil
}

// namespaceSizes counts a sample of all registrations, and scales it up where it
// is not the whole.
func namespaceSizes(sample []rendezvous.Record, all int) []namespaceSize {
	seen := make(map[string]int)
	for _, r := range sample {
		seen[r.Namespace]++
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(seen[b], seen[a]), cmp.Compare(a, b))
	})
	var sizes []namespaceSize
	for _, name := range names[:min(largestShown, len(names))] {
		size := strconv.Itoa(seen[name])
		if len(sample) == largestSample && all > largestSample {
			size = "≈ " + compact(float64(seen[name])/largestSample*float64(all))
		}
		sizes = append(sizes, namespaceSize{shown(name), size})
	}
	return sizes
}
