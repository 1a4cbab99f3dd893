package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium, and a server of the page that it opens.
type browser struct {
	ctx    context.Context //nolint:containedctx // chromedp's browser is a context
	cancel []context.CancelFunc
	url    string
	server *http.Server
	served chan struct{} // closed when the server has ended
}

func startBrowser(ctx context.Context, script, profile string) (*browser, error) {
	if _, err := os.Stat(script); err != nil {
		return nil, fmt.Errorf("%w: make interop builds it", err)
	}
	b := &browser{served: make(chan struct{})}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the page: %w", err)
	}
	b.url = "http://" + l.Addr().String() + "/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><title>interop</title><script src=page.js></script>")) // the browser would complain
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, script) })
	b.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(b.served)
		_ = b.server.Serve(l) // fails when it is closed
	}()

	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath("/usr/bin/chromium"),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		// Only one page at a time is in the foreground.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	b.cancel = append(b.cancel, cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	b.cancel = append(b.cancel, cancel)
	if err := chromedp.Do(b.ctx); err != nil { //nolint:contextcheck // it is made from ctx
		b.close()
		return nil, fmt.Errorf("start Chromium, which .ci/deps installs: %w", err)
	}
	return b, nil
}

func (b *browser) close() {
	for i := range b.cancel {
		b.cancel[len(b.cancel)-1-i]()
	}
	_ = b.server.Close()
	<-b.served
}

// page is a page in the browser.
type page struct {
	ctx    context.Context //nolint:containedctx // chromedp's page is a context
	cancel context.CancelFunc
}

func (b *browser) openPage() (*page, error) {
	p := new(page)
	p.ctx, p.cancel = chromedp.NewContext(b.ctx)
	if err := chromedp.Do(p.ctx, chromedp.Navigate(b.url)); err != nil {
		p.cancel()
		return nil, fmt.Errorf("open the page: %w", err)
	}
	return p, nil
}

func (p *page) call(ctx context.Context, command []byte) ([]byte, error) {
	within, cancel := context.WithCancel(p.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	answer, err := chromedp.Run(within, chromedp.Evaluate[string]( //nolint:contextcheck // within ends with ctx, and has the page
		"interop("+string(command)+").then(JSON.stringify)", chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask the page: %w", err), ctx.Err())
	}
	return []byte(answer), nil
}

func (p *page) close() { p.cancel() }
