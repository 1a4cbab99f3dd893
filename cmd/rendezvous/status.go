package main

// The status page: one document without anything from elsewhere. It is whole
// without JavaScript; with it, the live part is fetched anew every other second.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed status.html
var statusHTML string

//go:embed status.css
var statusCSS string

//go:embed status.js
var statusJS string

// contentPolicy lets the page run its own script and style, and nothing else: what
// a peer might smuggle into it would be inert.
var contentPolicy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	hashSource(statusCSS), hashSource(statusJS))

func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// status is what the page shows.
type status struct {
	CSS     template.CSS
	JS      template.JS
	PeerID  string
	Addrs   []string
	Version string
	Ready   bool
	Uptime  string
	Charts  []chart
	Largest []namespaceSize
	Refused []refusals
	At      string
}

type refusals struct {
	Reason string
	Count  string
}

type statusPage struct {
	point    *point
	history  *history
	template *template.Template
	largest  largest
}

func newStatusPage(p *point, h *history) *statusPage {
	t := template.Must(template.New("status").Parse(statusHTML))
	return &statusPage{point: p, history: h, template: t, largest: largest{storage: p.storage}}
}

func (s *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page bytes.Buffer // so that a page that fails is not half a page
	if err := s.template.Execute(&page, s.status(r.Context())); err != nil {
		say(w, http.StatusInternalServerError, "the status page failed")
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

func (s *statusPage) status(ctx context.Context) status {
	readings := s.history.last()
	var now reading
	if len(readings) > 0 {
		now = readings[len(readings)-1]
	}
	page := status{
		CSS:     template.CSS(statusCSS), //nolint:gosec // this program's own
		JS:      template.JS(statusJS),   //nolint:gosec // this program's own
		PeerID:  s.point.host.ID().String(),
		Version: version(),
		Ready:   s.point.ready.Load(),
		Uptime:  time.Since(s.point.started).Truncate(time.Second).String(),
		At:      time.Now().UTC().Format("15:04:05 UTC"),
		Charts: []chart{
			newChart("Live registrations", readings, func(r reading) float64 { return r.registrations }),
			newChart("Requests per second", readings, func(r reading) float64 { return r.perSecond }),
			newChart("Namespaces", readings, func(r reading) float64 { return r.namespaces }),
		},
		Refused: topRefusals(now.refused),
	}
	for _, a := range s.point.addrs() {
		page.Addrs = append(page.Addrs, a.String())
	}
	page.Largest = s.largest.get(ctx)
	return page
}

func topRefusals(byReason map[string]float64) []refusals {
	var list []refusals
	for reason, n := range byReason {
		if n > 0 {
			list = append(list, refusals{strings.ReplaceAll(reason, "_", " "), compact(n)})
		}
	}
	slices.SortFunc(list, func(a, b refusals) int {
		return cmp.Or(cmp.Compare(byReason[strings.ReplaceAll(b.Reason, " ", "_")], byReason[strings.ReplaceAll(a.Reason, " ", "_")]), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
