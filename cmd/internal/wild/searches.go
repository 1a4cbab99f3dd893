//go:build linux

package main

import "fmt"

// search is one call of FindPeers by a searcher.
type search struct {
	by           string // the node on whose machine the searcher is
	began, ended instant
	found        map[string]bool // by name of the node; all others were not found
	asked        map[string]bool // by peer ID of the point: it was asked, and whether it answered
}

// within reports whether the search was made between two instants.
func (s search) within(from, to instant) bool { return s.began >= from && s.ended <= to }

// searches are all searches, in the order in which those of each searcher ended.
type searches []search

// fewest returns the number of searches between two instants by the searcher of some pairs
// that made the fewest. It is 0 if there is no pair.
func (all searches) fewest(pairs []pair, from, to instant) int {
	made := make(map[string]int)
	for _, s := range all {
		if s.within(from, to) {
			made[s.by]++
		}
	}
	least := 0
	for i, p := range pairs {
		if n := made[p.by]; i == 0 || n < least {
			least = n
		}
	}
	return least
}

// inVain returns how many searches in a row, between two instants, did not find the
// second of a pair. It says for which pair there were the most.
func (all searches) inVain(pairs []pair, from, to instant) (most int, what string) {
	for _, p := range pairs {
		n := 0
		for _, s := range all {
			if s.by != p.by || !s.within(from, to) {
				continue
			}
			n++
			if s.found[p.of] {
				n = 0
			}
			if n > most {
				most, what = n, p.of+" by "+p.by
			}
		}
	}
	return most, what
}

// shares says what searches found beside a hostile point.
type shares struct {
	searches, fruitful int // all, and those that found a peer that exists
	asked              int // searches in which points were asked, not those that returned what was known
	both               int // searches in which all points answered
	complete           int // those of them that found all peers
}

// mostUnanswered is the share of the searches that asked points and may not get the answers
// of all of them.
const mostUnanswered = 0.05

// shares evaluates the searches between two instants. There are some points and some peers.
func (all searches) shares(points, peers int, from, to instant) shares {
	var h shares
	for _, s := range all {
		if !s.within(from, to) {
			continue
		}
		h.searches++
		if len(s.found) > 0 {
			h.fruitful++
		}
		if len(s.asked) == 0 {
			continue
		}
		h.asked++
		answers := 0
		for _, answered := range s.asked {
			if answered {
				answers++
			}
		}
		if answers < points {
			continue
		}
		h.both++
		if len(s.found) == peers-1 { // all but the one on the searcher's machine, which does not count
			h.complete++
		}
	}
	return h
}

// missed reports whether the honest point did not have its part.
func (h shares) missed() bool {
	return h.both == 0 || h.complete < h.both || float64(h.both) < (1-mostUnanswered)*float64(h.asked)
}

func (h shares) String() string {
	text := fmt.Sprintf("%d of %d searches found a peer that exists; %d asked the points, %d of these had the answers of all points, and %d of these found all peers",
		h.fruitful, h.searches, h.asked, h.both, h.complete)
	if h.missed() {
		text += " !"
	}
	return text
}
