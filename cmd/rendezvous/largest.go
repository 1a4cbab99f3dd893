package main

// The namespaces with the most registrations, for the status page.

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	largestShown = 10
	largestEvery = 2 * time.Second // at the least
	// largestSample is how many registrations are sampled. A namespace with one percent
	// of all registrations has about twenty in such a sample.
	largestSample = 2000
)

// namespaceSize is a namespace and its number of registrations, formatted for display.
type namespaceSize struct {
	Namespace     string
	Registrations string
}

// largestNamespaces finds the largest namespaces in a random sample of all
// registrations, whose cost does not depend on how many there are. It caches the
// result, because anyone who can open the page can reload it at any rate.
type largestNamespaces struct {
	storage rendezvous.Storage
	every   time.Duration // between two samples

	mu    sync.Mutex
	asked time.Time // when the storage was last queried; only one request does so at a time
	sizes []namespaceSize
}

// get returns the largest namespaces; total is the number of all registrations. It
// returns the cached ones if they are recent, if another request is updating them,
// or if the storage fails.
func (l *largestNamespaces) get(ctx context.Context, total int) []namespaceSize {
	l.mu.Lock()
	cached, due := l.sizes, time.Since(l.asked) >= l.every
	if due {
		l.asked = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return cached
	}
	sizes, err := l.find(ctx, total)
	if err != nil {
		return cached
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sizes = sizes
	return sizes
}

func (l *largestNamespaces) find(ctx context.Context, total int) ([]namespaceSize, error) {
	ctx, cancel := context.WithTimeout(ctx, largestEvery/2)
	defer cancel()
	sample, err := l.storage.Sample(ctx, "", largestSample, 0)
	if err != nil {
		return nil, err
	}
	return namespaceSizes(sample, total), nil
}

// namespaceSizes counts the namespaces in a sample of all registrations. If the sample
// does not contain all of them, it scales the counts up and marks them as estimates.
func namespaceSizes(sample []rendezvous.Record, total int) []namespaceSize {
	counts := make(map[string]int)
	for _, r := range sample {
		counts[r.Namespace]++
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var sizes []namespaceSize
	for _, name := range names[:min(largestShown, len(names))] {
		size := strconv.Itoa(counts[name])
		if len(sample) == largestSample && total > largestSample {
			size = "≈ " + shortNumber(float64(counts[name])/largestSample*float64(total))
		}
		sizes = append(sizes, namespaceSize{displayNamespace(name), size})
	}
	return sizes
}
