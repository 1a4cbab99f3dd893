//go:build linux

package main

// A network and the programs that run in it.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// environment is common to all worlds.
type environment struct {
	rendezvous string // the command
	logs       string // directory for the logs of programs
	lines      bool   // write their output there as well
	say        func(format string, args ...any)
}

// world is a network with its programs.
type world struct {
	*environment
	network   *topology
	history   *history
	name      string
	dir       string // for keys
	processes map[string]*process
	closed    bool
	failed    chan error // holds the error of the first program that ended by itself
}

// cableDelay is the delay of the link to a far point, in each direction.
const cableDelay = 10 * time.Millisecond

func newWorld(ctx context.Context, env *environment, number int, name string, o layoutOptions) (_ *world, err error) {
	w := &world{
		environment: env,
		name:        name,
		processes:   make(map[string]*process),
		failed:      make(chan error, 1),
	}
	l := newLayout(o)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(ctx))
		}
	}()
	if w.dir, err = os.MkdirTemp("/run", "wild-"); err != nil {
		return w, fmt.Errorf("make a directory for keys: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(env.logs, name), 0o755); err != nil {
		return w, fmt.Errorf("make a directory for logs: %w", err)
	}
	for _, p := range l.points {
		if p.id, err = w.makeKey(p.name); err != nil {
			return w, err
		}
	}
	for _, n := range l.nodes {
		if n.id, err = w.makeKey(n.name); err != nil {
			return w, err
		}
	}
	w.history = newHistory(l)
	if w.network, err = newTopology(ctx, fmt.Sprintf("w%d-", number), l); err != nil {
		return w, err
	}
	err = w.startAll(ctx)
	return w, err
}

// makeKey makes the private key of a program, and returns its peer ID.
func (w *world) makeKey(name string) (string, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	if err := os.WriteFile(w.keyFile(name), b, 0o600); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return id.String(), nil
}

func (w *world) keyFile(name string) string { return filepath.Join(w.dir, name+".key") }

func (w *world) startAll(ctx context.Context) error {
	var observed observerConfig
	for _, p := range w.network.points {
		if p.far {
			if err := w.layCable(ctx, p); err != nil {
				return err
			}
		}
		if err := w.startPoint(p); err != nil {
			return err
		}
		if !p.hostile {
			addr := listenAddrs(overTCP, p.addr.String(), pointPort)[0] + "/p2p/" + p.id
			observed.Points = append(observed.Points, observedPoint{p.name, addr})
		}
	}
	if err := w.startOwn(observerName, observerName, "observe", observed); err != nil {
		return err
	}
	// All points must be up before the first peer: none is to win because it started first.
	if err := w.started(ctx); err != nil {
		return err
	}
	for _, n := range w.network.nodes {
		if err := w.startOwn(n.name, n.name, "peer", w.peerConfig(n)); err != nil {
			return err
		}
	}
	return w.started(ctx)
}

// peerConfig returns the configuration of a node's program.
func (w *world) peerConfig(n *node) peerConfig {
	return peerConfig{
		Key:        w.keyFile(n.name),
		Transport:  n.transport,
		Port:       n.port,
		Announce:   n.announce(),
		Points:     w.network.pointAddrs(),
		NoDetector: n.noDetector,
	}
}

// started waits until all programs have started.
func (w *world) started(ctx context.Context) error {
	names := slices.Collect(maps.Keys(w.processes))
	return w.until(ctx, time.Minute, "all programs have started", func() bool { return w.history.allReady(names...) })
}

// startPoint starts a point. It also restarts one that was killed.
func (w *world) startPoint(p *point) error {
	if p.hostile {
		return w.startOwn(p.name, p.name, "hostile", hostileConfig{w.keyFile(p.name), p.addr.String()})
	}
	args := []string{w.rendezvous, "serve", "--key", w.keyFile(p.name)}
	for _, a := range listenAddrs(overBoth, p.addr.String(), pointPort) {
		args = append(args, "--listen", a)
	}
	return w.start(program{name: p.name, namespace: w.network.namespace(p.name), args: args})
}

// layCable makes the link to a far point.
func (w *world) layCable(ctx context.Context, p *point) error {
	config := delayConfig{Delay: cableDelay, Ends: [2]cableEnd{
		{w.network.namespace(routerName), p.name},
		{w.network.namespace(p.name), "eth0"},
	}}
	name := "cable-" + p.name
	if err := w.startOwn(name, "", "delay", config); err != nil {
		return err
	}
	if err := w.until(ctx, 10*time.Second, "the link to the far point exists", func() bool { return w.history.allReady(name) }); err != nil {
		return err
	}
	return w.network.address(ctx, p.name, p.addr)
}

// startOwn starts a subcommand of this program on a machine. If machine is empty, it runs in
// this program's own network namespace.
func (w *world) startOwn(name, machine, subcommand string, config any) error {
	args, err := ownArgs(subcommand, config)
	if err != nil {
		return err
	}
	if machine == observerName {
		// The measurement has priority on a busy machine, if this is allowed.
		args = append([]string{"nice", "-n", "-10"}, args...)
	}
	p := program{name: name, args: args, lines: func(b []byte) error {
		l, err := parseLine(b)
		if err != nil {
			return err
		}
		return w.history.add(name, l)
	}}
	if w.lines {
		p.copy = filepath.Join(w.logs, w.name, name+".lines")
	}
	if machine != "" {
		p.namespace = w.network.namespace(machine)
	}
	return w.start(p)
}

func (w *world) start(p program) error {
	p.log = filepath.Join(w.logs, w.name, p.name+".log")
	p.ended = func(proc *process) {
		select {
		case w.failed <- fmt.Errorf("%s ended by itself: %w; its log (%s) ends with:\n%s", proc.name, proc.err, proc.log, proc.lastWords()):
		default:
		}
	}
	proc, err := start(p)
	if err != nil {
		return err
	}
	w.processes[p.name] = proc
	return nil
}

// until waits until a condition holds. It checks ten times a second.
func (w *world) until(ctx context.Context, atMost time.Duration, what string, is func() bool) error {
	timeout := time.NewTimer(atMost)
	defer timeout.Stop()
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for !is() {
		select {
		case <-ticks.C:
		case <-timeout.C:
			return fmt.Errorf("%s: %w after %v", what, errTimeout, atMost)
		case err := <-w.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

var errTimeout = errors.New("not so")

// pause waits for some time.
func (w *world) pause(ctx context.Context, d time.Duration) error {
	end := now().add(d)
	return w.until(ctx, d+time.Minute, "time has passed", func() bool { return now() >= end })
}

// settled waits until nothing has been missing for a while.
func (w *world) settled(ctx context.Context, atMost, lasting time.Duration) error {
	var since instant
	err := w.until(ctx, atMost, "all peers are registered, found and in a mesh", func() bool {
		if len(w.history.missing()) > 0 {
			since = 0
			return false
		}
		if since == 0 {
			since = now()
		}
		return now().sub(since) >= lasting
	})
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("%w: %s", err, summary(w.history.missing()))
	}
	return err
}

// summary joins the first few texts.
func summary(texts []string) string {
	const most = 4
	if n := len(texts) - most; n > 0 {
		texts = append(slices.Clone(texts[:most]), fmt.Sprintf("%d more", n))
	}
	return strings.Join(texts, "; ")
}

// close ends all programs and removes the network, even if ctx has ended. It is idempotent.
func (w *world) close(ctx context.Context) error {
	if w.closed {
		return nil
	}
	w.closed = true
	for _, p := range w.processes {
		p.ending.Store(true)
	}
	for _, p := range w.processes {
		p.kill()
	}
	var removed error
	if w.network != nil {
		removed = w.network.remove(context.WithoutCancel(ctx))
	}
	return errors.Join(removed, os.RemoveAll(w.dir))
}

// busyPoint returns a point at which peers meet in all namespaces.
func (w *world) busyPoint() (*point, error) {
	if p := w.network.point(w.history.busiest()); p != nil {
		return p, nil
	}
	return nil, errors.New("there is no point at which peers meet in all namespaces")
}

// stopFor stops processes for some time.
func (w *world) stopFor(ctx context.Context, d time.Duration, names ...string) error {
	if err := w.signal(syscall.SIGSTOP, names...); err != nil {
		return err
	}
	if err := w.pause(ctx, d); err != nil {
		return err
	}
	return w.signal(syscall.SIGCONT, names...)
}

// signal sends a signal to processes.
func (w *world) signal(s syscall.Signal, names ...string) error {
	var failed []error
	for _, name := range names {
		failed = append(failed, w.processes[name].signal(s))
	}
	return errors.Join(failed...)
}

// move changes the addresses of nodes.
func (w *world) move(ctx context.Context, nodes ...*node) error {
	for _, n := range nodes {
		at := now()
		w.history.moved(n, at, n.nextAddr)
		if err := w.network.move(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// externals returns the public addresses of NATs.
func externals(nats ...*nat) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(nats))
	for _, n := range nats {
		addrs = append(addrs, n.external)
	}
	return addrs
}
