package main

// The status page: a single document that loads nothing else. JavaScript refreshes it
// every two seconds. Without JavaScript it is complete, and the browser reloads it.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

//go:embed status.html
var statusHTML string

//go:embed status.css
var statusCSS string

//go:embed status.js
var statusJS string

// contentPolicy is the page's Content-Security-Policy. It allows the page's own script
// and style only, so that text which a peer chose cannot run even if it is not escaped.
var contentPolicy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	hashSource(statusCSS), hashSource(statusJS))

// hashSource returns the hash of a script or style, as the policy expects it.
func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// statusData is the data of the page's template.
type statusData struct {
	CSS     template.CSS
	JS      template.JS
	PeerID  string
	Addrs   []string
	Version string
	Ready   bool
	Uptime  string
	SameKey bool
	Crowd   string
	Crowded bool
	Charts  []chart
	Largest []namespaceSize
	Served  []protocolCount
	Refused []refusalCount
	At      string // time of day, UTC
}

// protocolCount is how many requests came in a protocol.
type protocolCount struct {
	Protocol protocol.ID
	Count    string
}

// refusalCount is how many requests were refused for a reason.
type refusalCount struct {
	Reason string
	Count  string
}

// statusPage is an [http.Handler].
type statusPage struct {
	point    *point
	history  *history
	template *template.Template
	largest  largestNamespaces
}

func newStatusPage(p *point, h *history) *statusPage {
	t := template.Must(template.New("status").Parse(statusHTML))
	return &statusPage{point: p, history: h, template: t, largest: largestNamespaces{storage: p.storage, every: max(largestEvery, h.countEvery)}}
}

func (s *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Buffer the page, to send either all of it or an error.
	var page bytes.Buffer
	if err := s.template.Execute(&page, s.data(r.Context())); err != nil {
		http.Error(w, "cannot render the status page", http.StatusInternalServerError)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", contentPolicy)
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	_, _ = page.WriteTo(w)
}

func (s *statusPage) data(ctx context.Context) statusData {
	readings := s.history.all()
	var now reading
	if len(readings) > 0 {
		now = readings[len(readings)-1]
	}
	data := statusData{
		CSS:     template.CSS(statusCSS), //nolint:gosec // a constant of this program
		JS:      template.JS(statusJS),   //nolint:gosec // a constant of this program
		PeerID:  s.point.host.ID().String(),
		Version: version(),
		SameKey: s.point.sameKey.found.Load(),
		Ready:   s.point.ready.Load(),
		Uptime:  time.Since(s.point.started).Truncate(time.Second).String(),
		At:      time.Now().UTC().Format("15:04:05 UTC"),
		Charts: []chart{
			newChart("Live registrations", readings, func(r reading) float64 { return float64(r.stored.Registrations) }),
			newChart("Requests per second", readings, func(r reading) float64 { return r.perSecond }),
			newChart("Namespaces", readings, func(r reading) float64 { return float64(r.stored.Namespaces) }),
		},
		Served:  countServed(s.point.host.Mux().Protocols(), now.byProtocol),
		Refused: countRefusals(now.refused),
	}
	crowd := s.point.crowds.get()
	data.Crowd, data.Crowded = crowd.String(), crowd.Notable()
	for _, a := range s.point.addrs() {
		data.Addrs = append(data.Addrs, a.String())
	}
	data.Largest = s.largest.get(ctx, now.stored.Registrations)
	return data
}

// countServed returns the requests in each of the protocols that a point serves. Those in a
// further ID of the standard protocol count as its own.
func countServed(protocols []protocol.ID, requests map[protocol.ID]int) (counts []protocolCount) {
	for _, id := range []protocol.ID{rendezvous.RendezvousID_v001, rendezvous.StandardID} {
		if slices.Contains(protocols, id) {
			counts = append(counts, protocolCount{id, shortNumber(float64(requests[id]))})
		}
	}
	return counts
}

// countRefusals returns the reasons for which requests were refused, the most frequent
// first.
func countRefusals(byReason map[rendezvous.Reason]int) []refusalCount {
	reasons := slices.SortedFunc(maps.Keys(byReason), func(a, b rendezvous.Reason) int {
		return cmp.Or(cmp.Compare(byReason[b], byReason[a]), cmp.Compare(a, b))
	})
	var counts []refusalCount
	for _, reason := range reasons {
		if n := byReason[reason]; n > 0 {
			counts = append(counts, refusalCount{strings.ReplaceAll(string(reason), "_", " "), shortNumber(float64(n))})
		}
	}
	return counts
}
