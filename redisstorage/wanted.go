package redisstorage

// What a Sample still wants.

import (
	"math"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// firstEntries is how many entries a round fetches while the size of entries is not known.
const firstEntries = 128

// registration identifies a registration.
type registration struct {
	namespace string
	peer      peer.ID
}

// wanted is what a Sample has found, and what it still wants.
type wanted struct {
	n, maxBytes int                 // maxBytes 0: no bound
	records     []rendezvous.Record // without repeats
	bytes       int                 // of the namespaces and envelopes of records
	full        bool                // the next record would have exceeded maxBytes
	seen        map[registration]struct{}
}

func newWanted(n, maxBytes int) *wanted {
	return &wanted{n: n, maxBytes: maxBytes, seen: make(map[registration]struct{})}
}

// done reports whether nothing more is wanted.
func (w *wanted) done() bool { return w.full || len(w.records) >= w.n }

// add adds records that were not found before.
func (w *wanted) add(records []rendezvous.Record) {
	for _, r := range records {
		if w.done() {
			return
		}
		key := registration{r.Namespace, r.Peer}
		if _, ok := w.seen[key]; ok {
			continue
		}
		size := len(r.Namespace) + len(r.Envelope)
		if w.maxBytes > 0 && w.bytes+size > w.maxBytes {
			w.full = true
			return
		}
		w.seen[key] = struct{}{}
		w.bytes += size
		w.records = append(w.records, r)
	}
}

// positions returns how many of size positions to draw in the next round, given how many
// of them have an entry, how many a live one, and the mean size of an entry. However many
// records have expired, it asks for at most about twice as many as are wanted, and for
// about as many bytes as are left.
func (w *wanted) positions(size, length, live, entry int) int {
	more := w.n - len(w.records)
	k := size
	// perEntry is how many positions there are for each that has an entry.
	perEntry := float64(size) / float64(max(1, length))
	if w.n < math.MaxInt/4 {
		unseen := max(1, live-len(w.records)) // of the live entries
		most := int(float64(2*w.n+32) * perEntry)
		k = min(most, drawCount(more, size, min(1, float64(unseen)/float64(max(1, size)))))
	}
	switch {
	case w.maxBytes <= 0:
	case entry == 0:
		k = int(min(float64(k), firstEntries*perEntry))
	default:
		fits := max(0, w.maxBytes-w.bytes) / entry
		k = int(min(float64(k), float64(fits+fits/4+32)*perEntry))
	}
	return min(k, size)
}
