package storagetest

// A storage that the checks of pages are tested with.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

var pagerFlaws = []flawRow{
	{"skips a record between pages", "order"},
	{"repeats a record between pages", "order"},
	{"forgets refreshes", "order"},
	{"forgets refreshes with the same bytes", "order"},
	{"pages in the order of peers", "order"},
	{"pages all namespaces", "order"},
	{"pages by index", "sees each record once"},
	{"gives out a place twice", "others add"},
	{"returns one too many in a page", "has n records or all that are left"},
	{"moves the cursor with an empty page", "has n records or all that are left"},
	{"pages beyond the bytes", "page stops at a number of bytes"},
	{"returns nothing if one is beyond the bytes", "page stops at a number of bytes"},
	{"takes other cursors for the end", "did not make"},
	{"fails on other cursors", "did not make"},
	{"makes long cursors", "order"},
	{"makes binary cursors", "order"},
	{"pages what has expired", "page has no expired record"},
	{"reuses envelopes", "envelopes of a page never change"},
	{"pages all kinds", "kinds"},
	{"samples other kinds", "kinds"},
	{"keeps one record of each kind", "kinds"},
	{"pages what was removed", "Remove ends"},
	{"samples what was removed", "Remove ends"},
	{"removes one of a peer", "Remove ends"},
	{"removes all of a peer", "Remove ends"},
	{"removes the namespace", "Remove ends"},
	{"fails to remove nothing", "Remove ends"},
	{"works after Close", "methods of a Pager"},
	{"ignores contexts", "methods of a Pager"},
	{"numbers anew on reopening", "cursors survive"},
	{"counts places anew on reopening", "cursors survive"},
	{"loses kinds on reopening", "cursors survive"},
	{"restores what was removed on reopening", "cursors survive"},
	{"samples what is not fresh", "what is fresh"},
	{"samples no lasting records", "what is fresh"},
	{"samples with the deadline", "what is fresh"},
	{"samples beyond the deadline", "what is fresh"},
	{"samples what is not fresh", "uniform over what is fresh"},
	{"renews beyond the deadline", "Renew"},
	{"shortens freshness", "Renew"},
	{"renews one namespace", "Renew"},
	{"renews one peer", "Renew"},
	{"renews only what is fresh", "Renew"},
	{"renews as a refresh", "Renew"},
	{"renews all peers", "Renew"},
	{"does not limit lasting records", "half of the total"},
	{"does not limit lasting records", "half of the bytes"},
	{"limits lasting records to all of the total", "half of the total"},
	{"limits lasting records to all of the bytes", "half of the bytes"},
	{"limits lasting envelopes", "half of the bytes"},
	{"refuses lasting refreshes", "half of the total"},
	{"makes records lasting without limit", "half of the total"},
	{"makes records lasting without limit", "half of the bytes"},
	{"stores what it refuses as lasting", "half of the total"},
	{"counts lasting records that were replaced", "half of the total"},
	{"counts lasting records that were removed", "half of the total"},
	{"has no room for one lasting record", "room for one"},
	{"takes zero for half", "room for one"},
	{"counts what is fresh", "counts until its deadline"},
	{"counts what was renewed as not lasting", "counts until its deadline"},
	{"counts expired lasting records", "counts until its deadline"},
	{"makes all fresh on reopening", "freshness survives"},
	{"loses freshness on reopening", "freshness survives"},
}

// flawedPager is a simple storage that pages, with one flaw, or with none for "".
type flawedPager struct {
	*flawed
	pages   sync.Mutex
	next    int
	places  map[placeKey]int
	added   map[placeKey]bool // whether a record was added as a lasting one
	removed []rendezvous.Record
	lost    int // lasting records that are counted and gone
}

type placeKey struct {
	namespace string
	peer      peer.ID
}

func keyOf(r rendezvous.Record) placeKey { return placeKey{r.Namespace, r.Peer} }

func newFlawedPager(flaw string) *flawedPager {
	return &flawedPager{flawed: newFlawed(flaw), places: make(map[placeKey]int), added: make(map[placeKey]bool)}
}

func (f *flawedPager) Add(ctx context.Context, r rendezvous.Record, q rendezvous.Quota) error {
	f.pages.Lock()
	defer f.pages.Unlock()
	old, replaces := f.find(r)
	if !f.closed && ctx.Err() == nil && f.lasting(r) && f.lastingExceeds(r, q) &&
		(!replaces || !f.isLasting(old) || f.has("refuses lasting refreshes")) &&
		(!replaces || !f.has("makes records lasting without limit")) {
		if f.has("stores what it refuses as lasting") {
			_ = f.flawed.Add(ctx, r, rendezvous.Quota{})
		}
		return rendezvous.ErrFull
	}
	if f.inSteps(q) || f.has("gives out a place twice") {
		place := f.next
		f.pages.Unlock()
		err := f.flawed.Add(ctx, r, q)
		if f.has("gives out a place twice") {
			time.Sleep(time.Nanosecond)
		}
		f.pages.Lock()
		if err == nil {
			f.next = place + 1
			f.places[keyOf(r)] = f.next
		}
		return err
	}
	if err := f.flawed.Add(ctx, r, q); err != nil {
		return err
	}
	f.added[keyOf(r)] = f.lasting(r)
	if replaces && f.lasting(old) && !f.lasting(r) && f.has("counts lasting records that were replaced") {
		f.lost++
	}
	same := bytes.Equal(old.Envelope, r.Envelope)
	if !replaces || !f.has("forgets refreshes") && (!same || !f.has("forgets refreshes with the same bytes")) {
		f.next++
		f.places[keyOf(r)] = f.next
	}
	if replaces && old.Kind != r.Kind && f.has("keeps one record of each kind") {
		f.records = append(f.records, old)
	}
	return nil
}

// find returns the live record that r replaces.
func (f *flawedPager) find(r rendezvous.Record) (rendezvous.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.records {
		if keyOf(other) == keyOf(r) && f.live(other) {
			return other, true
		}
	}
	return rendezvous.Record{}, false
}

// lastingExceeds reports whether a lasting record would exceed its part of a quota.
func (f *flawedPager) lastingExceeds(r rendezvous.Record, q rendezvous.Quota) bool {
	if f.has("does not limit lasting records") {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, size := f.lost, int64(0)
	for _, other := range f.records {
		if !f.isLasting(other) || !f.live(other) && !f.has("counts expired lasting records") ||
			!f.freshUntil(other).After(time.Now()) && f.has("counts what is fresh") {
			continue
		}
		n++
		size += f.sizeOfLasting(other)
	}
	total, most := max(1, q.Total/2), max(1, q.Bytes/2)
	switch {
	case f.has("limits lasting records to all of the total"):
		total = q.Total
	case f.has("limits lasting records to all of the bytes"):
		most = q.Bytes
	case f.has("has no room for one lasting record"):
		total = q.Total / 2
	}
	zero := f.has("takes zero for half")
	return (q.Total > 0 || zero) && n >= total || q.Bytes > 0 && size+f.sizeOfLasting(r) > most
}

// isLasting reports whether a record was added as a lasting one. Renewing changes nothing.
func (f *flawedPager) isLasting(r rendezvous.Record) bool {
	if f.has("counts what was renewed as not lasting") {
		return f.lasting(r)
	}
	return f.added[keyOf(r)]
}

func (f *flawedPager) sizeOfLasting(r rendezvous.Record) int64 {
	if f.has("limits lasting envelopes") {
		return int64(len(r.Envelope))
	}
	return f.size(r)
}

func (f *flawedPager) Sample(ctx context.Context, namespace string, n, maxBytes int) ([]rendezvous.Record, error) {
	got, err := f.flawed.Sample(ctx, namespace, n, maxBytes)
	if f.has("samples what was removed") {
		for _, r := range f.removed {
			if r.Namespace == namespace {
				got = append(got, r)
			}
		}
	}
	return got, err
}

func (f *flawedPager) Page(ctx context.Context, namespace string, kind rendezvous.RecordKind, after rendezvous.Cursor, n, maxBytes int) ([]rendezvous.Record, rendezvous.Cursor, error) {
	f.pages.Lock()
	defer f.pages.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ctx); err != nil {
		return nil, "", err
	}
	at, err := f.parse(after)
	if err != nil {
		return nil, "", err
	}
	var all []rendezvous.Record
	for _, r := range append(slices.Clone(f.records), f.removedInPages()...) {
		in := namespace == "" || r.Namespace == namespace || f.has("pages all namespaces")
		if in && (r.Kind == kind || f.has("pages all kinds")) && (f.live(r) || f.has("pages what has expired")) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b rendezvous.Record) int {
		if f.has("pages in the order of peers") {
			return strings.Compare(string(a.Peer), string(b.Peer))
		}
		return cmp.Compare(f.places[keyOf(a)], f.places[keyOf(b)])
	})
	if f.has("pages by index") {
		all = all[min(at, len(all)):]
	} else {
		all = slices.DeleteFunc(all, func(r rendezvous.Record) bool { return f.places[keyOf(r)] <= at })
	}
	got := f.pageBytes(maxBytes, all[:f.pageSize(n, len(all))])
	return got, f.cursor(f.end(at, got, all)), nil
}

func (f *flawedPager) removedInPages() []rendezvous.Record {
	if f.has("pages what was removed") {
		return f.removed
	}
	return nil
}

func (f *flawedPager) pageSize(n, all int) int {
	n = max(n, 0)
	if f.has("returns one too many in a page") && n < all {
		n++
	}
	return min(n, all)
}

// pageBytes returns the first of records, at least one, that do not exceed maxBytes.
func (f *flawedPager) pageBytes(maxBytes int, records []rendezvous.Record) []rendezvous.Record {
	if maxBytes <= 0 || f.has("pages beyond the bytes") {
		return records
	}
	for i, r := range records {
		maxBytes -= len(r.Namespace) + len(r.Envelope)
		if maxBytes < 0 && (i > 0 || f.has("returns nothing if one is beyond the bytes")) {
			return records[:i]
		}
	}
	return records
}

// end returns where the cursor of a page is.
func (f *flawedPager) end(at int, got, all []rendezvous.Record) int {
	switch {
	case len(got) == 0 && f.has("moves the cursor with an empty page"):
		return f.next
	case len(got) == 0:
		return at
	case f.has("pages by index"):
		return at + len(got)
	case f.has("skips a record between pages") && len(all) > len(got):
		return f.places[keyOf(all[len(got)])]
	case f.has("repeats a record between pages") && len(got) > 1:
		return f.places[keyOf(got[len(got)-2])]
	}
	return f.places[keyOf(got[len(got)-1])]
}

func (f *flawedPager) cursor(at int) rendezvous.Cursor {
	switch {
	case f.has("makes long cursors"):
		return rendezvous.Cursor(fmt.Sprintf("mine:%0300d", at))
	case f.has("makes binary cursors"):
		return rendezvous.Cursor(fmt.Sprintf("mine:\x00%d", at))
	}
	return rendezvous.Cursor(fmt.Sprintf("mine:%d", at))
}

// parse returns the place of a cursor. Others are before the first place.
func (f *flawedPager) parse(c rendezvous.Cursor) (int, error) {
	var at int
	digits := strings.TrimPrefix(strings.TrimPrefix(string(c), "mine:"), "\x00")
	if n, _ := fmt.Sscan(digits, &at); n == 1 && f.cursor(at) == c && at <= f.next {
		return at, nil
	}
	switch {
	case c != "" && f.has("fails on other cursors"):
		return 0, errors.New("unknown cursor")
	case c != "" && f.has("takes other cursors for the end"):
		return f.next, nil
	}
	return 0, nil
}

func (f *flawedPager) Remove(ctx context.Context, namespace string, p peer.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ctx); err != nil {
		return err
	}
	before := len(f.records)
	f.records = slices.DeleteFunc(f.records, func(r rendezvous.Record) bool {
		in := namespace == "" || r.Namespace == namespace || f.has("removes all of a peer")
		if !in || r.Peer != p && (namespace == "" || !f.has("removes the namespace")) ||
			f.has("removes one of a peer") && len(f.removed) > 0 && f.removed[len(f.removed)-1].Peer == p && namespace == "" {
			return false
		}
		if f.lasting(r) && f.has("counts lasting records that were removed") {
			f.lost++
		}
		f.removed = append(f.removed, r)
		return true
	})
	if len(f.records) == before && f.has("fails to remove nothing") {
		return errors.New("nothing to remove")
	}
	return nil
}

func (f *flawedPager) Renew(ctx context.Context, peers []peer.ID, fresh time.Time) error {
	f.pages.Lock()
	defer f.pages.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(ctx); err != nil {
		return err
	}
	if f.has("renews one peer") && len(peers) > 0 {
		peers = peers[:1]
	}
	renewed := make(map[peer.ID]bool)
	for i, r := range f.records {
		isOne := slices.Contains(peers, r.Peer) || f.has("renews all peers")
		if !isOne || !f.live(r) || renewed[r.Peer] && f.has("renews one namespace") ||
			!f.freshUntil(r).After(time.Now()) && f.has("renews only what is fresh") {
			continue
		}
		renewed[r.Peer] = true
		f.records[i] = f.renewed(r, fresh)
	}
	return nil
}

// renewed returns r after a Renew.
func (f *flawedPager) renewed(r rendezvous.Record, fresh time.Time) rendezvous.Record {
	if f.has("renews as a refresh") {
		f.next++
		f.places[keyOf(r)] = f.next
	}
	if fresh.After(r.Deadline) && f.has("renews beyond the deadline") {
		r.Deadline = fresh
	}
	if fresh.Before(f.freshUntil(r)) && !f.has("shortens freshness") {
		return r
	}
	r.Fresh = fresh
	return r
}

// reopened closes f and returns a storage with the same records.
func (f *flawedPager) reopened() *flawedPager {
	again := newFlawedPager(f.flaw)
	again.flawed = f.flawed.reopened()
	again.next, again.places, again.added = f.next, maps.Clone(f.places), maps.Clone(f.added)
	if f.has("counts places anew on reopening") {
		again.next = 0
	}
	if f.has("restores what was removed on reopening") {
		again.records = append(again.records, f.removed...)
	}
	if f.has("numbers anew on reopening") {
		again.next = 0
		for _, r := range f.records {
			again.next++
			again.places[keyOf(r)] = again.next
		}
	}
	for i := range again.records {
		r := &again.records[i]
		switch {
		case f.has("loses kinds on reopening"):
			r.Kind = usual
		case f.has("makes all fresh on reopening") && f.lasting(*r):
			r.Fresh = time.Now().Add(time.Minute)
		case f.has("loses freshness on reopening") && f.lasting(*r):
			r.Fresh = time.Time{}
		}
	}
	return again
}
