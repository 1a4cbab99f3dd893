package points

import (
	"bytes"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/status-im/go-waku-rendezvous/internal/logging"
)

const (
	// maxFollowed is in how many namespaces the host follows one point, and maxCookie is
	// the longest cookie in bytes. Together they bound the memory that a point can take.
	maxFollowed = 1024
	maxCookie   = 512
	// MaxPages is how many pages of a point are read at a time, at most.
	MaxPages = 8
	// A list that was read to its end is read again from the start, listAgain after its
	// first page was read, because a point does not report peers that have unregistered.
	listAgain = time.Minute
	// newestOnly is how many registrations a point hands out if its cookies lead back to
	// the same page: only the newest ones.
	newestOnly = 64
)

// Follow is how far the host has read the list of the registrations in a namespace that a
// point hands out page by page, each with a cookie for the next one. Only one caller of
// [Point.Follow] at a time has it, until that calls Done.
type Follow struct {
	conns     conns // to the point
	namespace string
	turn      chan struct{} // holds a token while somebody has it
	wanted    time.Time     // when somebody last wanted it; guarded by the point's mu

	cookie []byte    // for the next page; empty: the first one
	asked  time.Time // when the last page was asked for
	begun  time.Time // when the first page was asked for
	first  int       // how many registrations it had
	ended  bool      // whether the list was read to its end since

	repeats bool      // whether the point's cookies lead back to the same page
	noticed time.Time // when that was

	self uint64 // the sequence number of the host's record when the list last had it, or 0
}

func newFollow(c conns, namespace string) *Follow {
	return &Follow{conns: c, namespace: namespace, turn: make(chan struct{}, 1)}
}

// SetSelf records that the list has a record of the host itself, by its sequence number.
func (f *Follow) SetSelf(seq uint64) { f.self = seq }

// HadSelf reports whether SetSelf was last called with seq.
func (f *Follow) HadSelf(seq uint64) bool { return f.self == seq }

// Done lets others read on.
func (f *Follow) Done() { <-f.turn }

// Page is what [Follow.Read] needs to know of an answer.
type Page struct {
	Found  []Entry // its valid registrations
	Got    int     // how many it has, valid or not
	Cookie []byte  // for the next page; empty if there is none
	// Unknown is whether the point does not know the cookie that it was asked with, because
	// it was started again. There is nothing else on the page then.
	Unknown bool
}

// Entry names a registration.
type Entry struct {
	Namespace string
	Peer      peer.ID
}

// Read reads pages of at most limit registrations, from where the last call ended. It calls
// ask for each one, with the cookie to ask with: nil for the first page. It returns when the
// point has no more, a page has nothing that was not on another, [MaxPages] are read, or ask
// reports that the caller has enough. A point that does not know a cookie is asked for the
// first page. An error ends it, and is returned unless pages before had registrations.
func (f *Follow) Read(limit int, ask func(cookie []byte) (p Page, enough bool, err error)) error {
	seen := make(map[Entry]struct{})
	var last []Entry
	for range MaxPages {
		p, enough, err := ask(f.next())
		if err != nil {
			if len(seen) > 0 {
				logging.Log.Debug("rendezvous point has answered in part", "point", f.conns.peer, "namespace", f.namespace, "error", err)
				return nil
			}
			return err
		}
		if p.Unknown {
			f.restart()
			continue
		}
		before := len(seen)
		for _, e := range p.Found {
			seen[e] = struct{}{}
		}
		more := f.answered(limit, p, repeats(last, p.Found))
		last = p.Found
		if enough || !more || p.Got > 0 && len(seen) == before {
			return nil
		}
	}
	return nil
}

// repeats reports whether a page repeats the previous page, with or without its final
// registration. A cookie of canvas-js leads back to such a page.
func repeats(last, found []Entry) bool {
	return len(found) > 0 && len(found) >= len(last)-1 && len(found) <= len(last) && slices.Equal(found, last[:len(found)])
}

// next returns the cookie to ask for the next page with, or nil for the first page. The list
// begins anew if it was read to its end and that began listAgain ago, or if the point may have been
// started again.
func (f *Follow) next() []byte {
	if f.ended && time.Since(f.begun) >= listAgain || f.pointRestarted() {
		f.restart()
	}
	f.asked = time.Now()
	if len(f.cookie) == 0 {
		f.begun, f.ended = f.asked, false
	}
	return f.cookie
}

// pointRestarted reports whether the point may have been started again since the last page,
// because the host has connected to it since. The point may then have forgotten what its cookies
// meant, and some points then leave out what is new. A new connection over a relay that limits
// connections means nothing: each one ends after a few pages.
func (f *Follow) pointRestarted() bool {
	if !f.conns.openedSince(f.asked) {
		return false
	}
	_, limited := f.conns.answerBudget()
	return !limited
}

// restart makes the next page the first one.
func (f *Follow) restart() { f.cookie = nil }

// answered records an answer to a request for limit registrations. repeated is whether it
// is the same page as the one before, although the request asked for what comes after. It
// reports whether to ask for another page.
func (f *Follow) answered(limit int, p Page, repeated bool) (more bool) {
	switch {
	case len(f.cookie) == 0:
		f.asked = time.Now() // the request may have opened the connection, which does not mean a restart
		f.first = p.Got
	case f.pointRestarted():
		f.restart()
		return true
	}
	f.ended = f.ended || p.Got == 0
	if p.Got > 0 && (repeated || len(p.Cookie) > 0 && bytes.Equal(p.Cookie, f.cookie)) {
		f.repeats, f.noticed = true, time.Now()
	}
	f.restart()
	if f.repeats = f.repeats && time.Since(f.noticed) < listAgain; f.repeats {
		f.ended = f.first < min(limit, newestOnly)
		return false
	}
	if len(p.Cookie) == 0 || len(p.Cookie) > maxCookie {
		return false
	}
	f.cookie = bytes.Clone(p.Cookie)
	return p.Got > 0
}

// CompleteSince returns when the host began to read the list, if it has since read it to the end,
// and else the zero time.
func (f *Follow) CompleteSince() time.Time {
	if f.ended {
		return f.begun
	}
	return time.Time{}
}
