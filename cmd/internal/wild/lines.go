//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
)

// kind says what a line is about.
type kind string

const (
	kindReady    kind = "ready"    // the program has started
	kindMesh     kind = "mesh"     // gossipsub's mesh now consists of Peers
	kindSearch   kind = "search"   // FindPeers was called at Began and gave Found; the searcher's host is connected to Peers
	kindWatch    kind = "watch"    // Watch said that Peer is there, or that it left if Found is empty
	kindClosed   kind = "closed"   // a connection to Peer that was opened at Began is closed
	kindMessage  kind = "message"  // a message of Peer arrived
	kindAnswer   kind = "answer"   // Point was asked at Began and answered Found
	kindNoAnswer kind = "noanswer" // Point was asked at Began and did not answer; Text says why
	kindState    kind = "state"    // KeepRegistered says Text
)

// line is a line of a program's output, in JSON.
type line struct {
	Time  instant            `json:"t"`
	Kind  kind               `json:"kind"`
	Began instant            `json:"began,omitempty"`
	Point string             `json:"point,omitempty"`
	Peer  string             `json:"peer,omitempty"`
	Peers []string           `json:"peers,omitempty"`
	Found map[string][]found `json:"found,omitempty"` // by peer ID
	// Asked has the peer IDs of the points whose requests have ended since the last search,
	// and says whether they answered.
	Asked map[string]bool `json:"asked,omitempty"`
	Text  string          `json:"text,omitempty"`
}

// found is a registration in an answer, or a peer in the result of a search.
type found struct {
	Time      instant  `json:"t,omitempty"` // when the search returned it
	Namespace string   `json:"ns,omitempty"`
	Addrs     []string `json:"addrs,omitempty"`
}

func addrStrings(addrs []ma.Multiaddr) []string {
	texts := make([]string, 0, len(addrs))
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return texts
}

func parseLine(b []byte) (line, error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return line{}, fmt.Errorf("read line %q: %w", b, err)
	}
	if l.Time == 0 || l.Kind == "" {
		return line{}, fmt.Errorf("read line %q: time or kind is missing", b)
	}
	switch l.Kind {
	case kindWatch, kindClosed, kindMessage:
		if l.Peer == "" {
			return line{}, fmt.Errorf("read line %q: peer is missing", b)
		}
	default:
	}
	return l, nil
}

// printer prints lines. All methods may be called at the same time.
type printer struct {
	mu  sync.Mutex
	out *json.Encoder
}

func newPrinter(w io.Writer) *printer { return &printer{out: json.NewEncoder(w)} }

// print prints a line, and adds the time if it has none. If the reader is gone, SIGPIPE
// ends the program.
func (p *printer) print(l line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.Time == 0 {
		l.Time = now()
	}
	if err := p.out.Encode(l); err != nil {
		fmt.Fprintln(os.Stderr, "print a line:", err)
	}
}
