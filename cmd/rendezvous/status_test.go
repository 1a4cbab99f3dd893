package main

// The HTTP endpoint, and its status page in a real browser.

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// hostileNamespace tries to break the page or terminal that displays it, with markup, a
// template, a right-to-left override, an escape sequence and its length.
const hostileNamespace = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">{{.PeerID}}\u202e\x1b[2J\n" +
	"and on and on and on and on and on and on and on and on"

// newPointClient starts a host and returns its client of a point, and the point's peer ID. The
// host is closed when the test ends.
func newPointClient(t testing.TB, point string, opts ...rendezvous.ClientOption) (*rendezvous.Client, peer.ID) {
	t.Helper()
	infos, err := parsePointAddrs([]string{point})
	require.NoError(t, err)
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return rendezvous.NewClient(h, append(opts, rendezvous.WithPoints(infos...))...), infos[0].ID
}

// sendRefusedRequest sends a request that the point refuses.
func sendRefusedRequest(t testing.TB, point string) {
	t.Helper()
	c, id := newPointClient(t, point)
	_, err := c.Register(t.Context(), id, "news", time.Hour)
	require.ErrorIs(t, err, rendezvous.ErrInvalidTTL)
}

// sendStandardRequests sends requests of the standard protocol.
func sendStandardRequests(t testing.TB, point string, n int) {
	t.Helper()
	c, id := newPointClient(t, point, rendezvous.WithProtocol(rendezvous.StandardID))
	for range n {
		_, err := c.Register(t.Context(), id, "standard", time.Hour)
		require.NoError(t, err)
	}
}

// registerPeer starts a peer and registers it in namespaces.
func registerPeer(t testing.TB, point string, namespaces ...string) {
	t.Helper()
	client, id := newPointClient(t, point)
	for _, ns := range namespaces {
		_, err := client.Register(t.Context(), id, ns, 0)
		require.NoError(t, err)
	}
}

// browser is a tab of a headless Chromium.
type browser struct {
	t   testing.TB
	ctx context.Context
}

// newBrowser starts a browser, which ends with the test.
func newBrowser(t testing.TB, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath("/usr/bin/chromium"),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.WindowSize(1000, 1000),
	}, flags...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), ".ci/deps installs chromium")
	return &browser{t, ctx}
}

// open opens a page and waits for its live part.
func (b *browser) open(url string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#live"))))
}

// text returns the visible text of the first element that matches a CSS selector.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return evaluate[string](b, "document.querySelector("+strconv.Quote(selector)+").innerText")
}

// evaluate returns the value of a JavaScript expression.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err)
	return v
}

// await waits until a JavaScript expression is true.
func (b *browser) await(expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(20*time.Second)))
	require.NoError(b.t, err, expression)
}

// screenshot takes a screenshot. It saves it if RENDEZVOUS_SCREENSHOTS names a directory.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.Greater(b.t, len(png), 10_000, "the page is not empty")
	if dir := os.Getenv("RENDEZVOUS_SCREENSHOTS"); dir != "" {
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
	}
}

// emulateDarkPhone emulates a small screen with a dark color scheme.
func (b *browser) emulateDarkPhone() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile, chromedp.EmulateScale(2))))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
	require.NoError(b.t, err)
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	registerPeer(t, point.addrs[0], hostileNamespace, "news")
	registerPeer(t, point.addrs[0], "news")
	sendRefusedRequest(t, point.addrs[0])
	sendStandardRequests(t, point.addrs[0], 3)
	b := newBrowser(t)

	b.open(point.url)
	require.Equal(t, "Rendezvous point", evaluate[string](b, "document.title"), "no script of a peer has run")
	b.await(`document.querySelector("#live").innerText.includes("invalid ttl")`)
	b.await(`[...document.querySelectorAll("tr")].some(r => r.innerText.split(/\s+/).join(" ").trim() == "/rendezvous/1.0.0 3")`)
	rows := b.text(".tables table")
	require.Contains(t, rows, "news")
	require.Contains(t, rows, "<script>document.title=")
	require.NotContains(t, rows, "onerror", "a long namespace is cut")
	require.NotContains(t, rows, "\u202e")
	require.Contains(t, b.text("header"), point.addrs[0][strings.LastIndex(point.addrs[0], "/")+1:])
	for _, a := range point.addrs {
		require.Contains(t, b.text("main"), a)
	}
	b.screenshot("status")

	// The page updates itself.
	registerPeer(t, point.addrs[0], "later")
	b.await(`document.querySelector("#live").innerText.includes("later")`)
	b.await(`document.querySelectorAll("button").length > 1`)

	// It fits a phone, and has a dark theme.
	b.emulateDarkPhone()
	require.False(t, evaluate[bool](b, "document.documentElement.scrollWidth > innerWidth"), "the page does not scroll sideways")
	require.Equal(t, "rgb(20, 23, 27)", evaluate[string](b, "getComputedStyle(document.body).backgroundColor"))
	b.screenshot("status-phone-dark")

	// It says that the point is down.
	point.stop()
	b.await(`document.querySelector(".state").innerText.includes("does not answer")`)
}

func TestStatusPageWithoutJavaScript(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	registerPeer(t, point.addrs[0], "news")
	b := newBrowser(t, chromedp.Flag("blink-settings", "scriptEnabled=false"))
	b.open(point.url)
	b.screenshot("status-plain")
	require.Contains(t, b.text(".tables"), "news")
	require.Contains(t, b.text("main"), point.addrs[0])
	require.Zero(t, evaluate[int](b, `document.querySelectorAll("button").length`), "the script did not run")
}

// httpGet sends a GET request.
func httpGet(t testing.TB, url string) (status int, body string, head http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(b), answer.Header
}

func TestHTTPEndpoint(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	registerPeer(t, point.addrs[0], hostileNamespace)

	status, body, head := httpGet(t, point.url)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, 1, strings.Count(body, "<script>"), "the page has its own script only")
	require.NotContains(t, body, "http://", "the page loads nothing from other servers")
	require.NotContains(t, body, "https://")
	require.Contains(t, head.Get("Content-Security-Policy"), "default-src 'none'")

	for path, want := range map[string]string{"healthz": "ok\n", "readyz": "ready\n"} {
		status, body, _ := httpGet(t, point.url+path)
		require.Equal(t, http.StatusOK, status, path)
		require.Equal(t, want, body, path)
	}
	_, body, _ = httpGet(t, point.url+"metrics")
	for _, name := range []string{
		`libp2p_rendezvous_requests_total{protocol="/vac/waku/rendezvous/0.0.1",status="ok",type="register"} 1`,
		"libp2p_rendezvous_registrations 1", "libp2p_swarm_connections_opened_total", "libp2p_rendezvous_build_info", "process_resident_memory_bytes",
	} {
		require.Contains(t, body, name)
	}
	require.NotContains(t, body, "pwned", "no label has a value that a peer chose")

	for _, path := range []string{"debug/pprof/", "favicon.ico", "../etc/passwd"} {
		status, _, _ := httpGet(t, point.url+path)
		require.Equal(t, http.StatusNotFound, status, path)
	}
	status, _, _ = httpGet(t, startTestPoint(t, "--pprof").url+"debug/pprof/goroutine?debug=1")
	require.Equal(t, http.StatusOK, status)
}

// TestReadiness: a point is ready when it serves and its storage answers.
func TestReadiness(t *testing.T) {
	p := &point{storage: rendezvous.NewMemoryStorage()}
	statusCode := func() int {
		w := httptest.NewRecorder()
		readyHandler(p)(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
		return w.Code
	}
	require.Equal(t, http.StatusServiceUnavailable, statusCode(), "while it starts")
	p.ready.Store(true)
	require.Equal(t, http.StatusOK, statusCode())
	require.NoError(t, p.storage.Close())
	require.Equal(t, http.StatusServiceUnavailable, statusCode(), "when its storage does not answer")
}

func TestNamespaceSizes(t *testing.T) {
	var sample []rendezvous.Record
	for i := range largestSample {
		ns := "small"
		if i%4 != 0 {
			ns = "big"
		}
		sample = append(sample, rendezvous.Record{Namespace: ns})
	}
	require.Equal(t, []namespaceSize{{"big", "1500"}, {"small", "500"}}, namespaceSizes(sample, largestSample))
	require.Equal(t, []namespaceSize{{"big", "≈ 750.0k"}, {"small", "≈ 250.0k"}}, namespaceSizes(sample, 1_000_000))
	require.Empty(t, namespaceSizes(nil, 0))
}

// countedStorage counts the calls of Counts.
type countedStorage struct {
	rendezvous.Storage
	calls int
}

func (s *countedStorage) Counts(ctx context.Context) (rendezvous.Counts, error) {
	s.calls++
	return s.Storage.Counts(ctx)
}

// TestHistoryCountsSeldom: each reading has the requests up to then. The registrations of a
// shared registry are counted less often than that, and those of others each time.
func TestHistoryCountsSeldom(t *testing.T) {
	inner, err := rendezvous.NewMetricsTracer(prometheus.NewRegistry())
	require.NoError(t, err)
	for url, wantCalls := range map[string]int{"redis://127.0.0.1": 1, "valkeys://a,b": 1, "memory:": 3, "leveldb:/redis": 3} {
		storage := &countedStorage{Storage: rendezvous.NewMemoryStorage()}
		h := &history{tracer: newTracer(inner), storage: storage, countEvery: countInterval(url)}
		for i := range 3 {
			h.tracer.RequestAnswered(rendezvous.RequestAnswered{Type: rendezvous.RequestDiscover})
			h.tracer.RequestAnswered(rendezvous.RequestAnswered{Type: rendezvous.RequestDiscover, Reason: "rate_limited"})
			r := h.read(t.Context())
			require.Equal(t, 2*(i+1), r.requests)
			require.Equal(t, map[rendezvous.Reason]int{"rate_limited": i + 1}, r.refused)
			h.counted = h.counted.Add(-historyInterval) // a second goes by
		}
		require.Equal(t, wantCalls, storage.calls, url)
		require.NoError(t, storage.Close())
	}
}
