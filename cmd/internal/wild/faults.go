//go:build linux

package main

// The faults.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// fault is something that happens to a network.
type fault struct {
	name   string // for -run
	title  string // in the table
	layout layoutOptions
	// fresh: the fault is there from the start, and the peers do not settle before it.
	fresh bool
	// lasts is about the duration of strike.
	lasts  time.Duration
	groups func(n *topology) []group
	// strike breaks something. It returns when everything is repaired that will be.
	strike func(ctx context.Context, w *world) error
}

var faults = []fault{
	{
		name:   "nat-flush",
		title:  "NATs' tables flushed",
		groups: everyoneKept(overQUIC),
		strike: func(ctx context.Context, w *world) error {
			var failed []error
			for _, n := range w.network.nats {
				failed = append(failed, w.network.forget(ctx, n))
			}
			return errors.Join(failed...)
		},
	},
	{
		name:   "address",
		title:  "address changed",
		layout: layoutOptions{open: true},
		groups: func(n *topology) []group {
			return []group{
				{title: "behind a NAT", nodes: slices.Concat(n.behind(n.nats[0]), n.behind(n.nats[1])), steadyPoints: true, steadySearches: true, moved: true},
				{title: "open network", nodes: n.behind(nil), steadyPoints: true, steadySearches: true, moved: true},
			}
		},
		strike: func(ctx context.Context, w *world) error {
			n := w.network
			return w.move(ctx, slices.Concat(n.behind(n.nats[0]), n.behind(n.nats[1]), n.behind(nil))...)
		},
	},
	linkDown("5s", 5*time.Second),
	linkDown("30s", 30*time.Second),
	linkDown("5m", 5*time.Minute),
	{
		name:   "point-killed",
		title:  "point killed, back after 10 s",
		lasts:  10 * time.Second,
		groups: everyoneKept(transports...),
		strike: func(ctx context.Context, w *world) error {
			p, err := w.busyPoint()
			if err != nil {
				return err
			}
			w.processes[p.name].kill()
			if err := w.pause(ctx, 10*time.Second); err != nil {
				return err
			}
			return w.startPoint(p)
		},
	},
	{
		name:   "point-vanished",
		title:  "point's machine vanished",
		groups: everyoneKept(),
		strike: func(ctx context.Context, w *world) error {
			p, err := w.busyPoint()
			if err != nil {
				return err
			}
			return w.network.cut(ctx, p.addr)
		},
	},
	{
		name:   "point-stopped",
		title:  "point stopped for 60 s",
		lasts:  time.Minute,
		groups: everyoneKept(),
		strike: func(ctx context.Context, w *world) error {
			p, err := w.busyPoint()
			if err != nil {
				return err
			}
			return w.stopFor(ctx, time.Minute, p.name)
		},
	},
	{
		name:   "points-away",
		title:  "all points away for 2 min",
		lasts:  2 * time.Minute,
		groups: func(n *topology) []group { return []group{{nodes: n.nodes}} },
		strike: func(ctx context.Context, w *world) error {
			var addrs []netip.Addr
			for _, p := range w.network.points {
				addrs = append(addrs, p.addr)
			}
			if err := w.network.cut(ctx, addrs...); err != nil {
				return err
			}
			if err := w.pause(ctx, 2*time.Minute); err != nil {
				return err
			}
			return w.network.restore(ctx, addrs...)
		},
	},
	{
		name:  "stopped",
		title: "process stopped for 60 s",
		lasts: time.Minute,
		groups: func(n *topology) []group {
			return []group{{nodes: n.behind(n.nats[2])}}
		},
		strike: func(ctx context.Context, w *world) error {
			var names []string
			for _, n := range w.network.behind(w.network.nats[2]) {
				names = append(names, n.name)
			}
			return w.stopFor(ctx, time.Minute, names...)
		},
	},
	{
		name:   "loss",
		title:  "a fifth of packets lost for 60 s",
		lasts:  time.Minute,
		groups: everyoneKept(transports...),
		strike: func(ctx context.Context, w *world) error {
			addrs := externals(w.network.nats...)
			if err := w.network.lose(ctx, addrs...); err != nil {
				return err
			}
			if err := w.pause(ctx, time.Minute); err != nil {
				return err
			}
			return w.network.loseNothing(ctx, addrs...)
		},
	},
	{
		name:   "hostile",
		title:  "hostile point beside an honest one 20 ms farther",
		layout: layoutOptions{hostile: true},
		fresh:  true,
		groups: func(n *topology) []group { return []group{{nodes: n.nodes}} },
		strike: func(context.Context, *world) error { return nil },
	},
}

// everyoneKept returns one group, of all peers. They can reach a point all the time. Those
// that speak some transports must not be missing at all.
func everyoneKept(kept ...transport) func(*topology) []group {
	return func(n *topology) []group {
		return []group{{nodes: n.nodes, steadyPoints: true, steadySearches: true, kept: kept}}
	}
}

// linkDown is a fault in which the link of one NAT is down, and those of the hosts behind
// another. The hosts behind the first NAT notice only silence. The others cannot send.
// Registrations outlive a short time.
func linkDown(name string, d time.Duration) fault {
	short := d < 10*time.Second
	var kept []transport
	if short {
		kept = transports
	}
	return fault{
		name:  "link-" + name,
		title: fmt.Sprintf("link down for %.0f s", d.Seconds()),
		lasts: d,
		groups: func(n *topology) []group {
			return []group{
				{title: "NAT's", nodes: n.behind(n.nats[0]), steadyPoints: short, kept: kept},
				{title: "host's own", nodes: n.behind(n.nats[1]), steadyPoints: short, kept: kept},
			}
		},
		strike: func(ctx context.Context, w *world) error {
			n := w.network
			uplink := externals(n.nats[0])
			failed := []error{n.cut(ctx, uplink...)}
			for _, h := range n.behind(n.nats[1]) {
				failed = append(failed, n.linkDown(ctx, h))
			}
			if err := errors.Join(failed...); err != nil {
				return err
			}
			if err := w.pause(ctx, d); err != nil {
				return err
			}
			failed = []error{n.restore(ctx, uplink...)}
			for _, h := range n.behind(n.nats[1]) {
				failed = append(failed, n.linkUp(ctx, h))
			}
			return errors.Join(failed...)
		},
	}
}

// timing is the times around a fault.
type timing struct {
	quiet   time.Duration // between settling and the fault
	atLeast time.Duration // measured after the fault
	atMost  time.Duration // measured after the fault while something is missing
}

var (
	longTiming  = timing{quiet: time.Minute, atLeast: 90 * time.Second, atMost: 5 * time.Minute}
	shortTiming = timing{quiet: 10 * time.Second, atLeast: 45 * time.Second, atMost: 2 * time.Minute}
)

// mostLate is the longest time by which the observer may be late. The measurements are less
// precise by that time.
const mostLate = time.Second

// result is the outcome of a fault.
type result struct {
	fault   *fault
	rows    []row
	period  period
	shares  *shares  // of searches beside a hostile point; nil without one
	history *history // nil where nothing was measured
	err     error
}

// happen makes a network, breaks it, and measures the consequences.
func (f *fault) happen(ctx context.Context, env *environment, number int, t timing) (_ result, err error) {
	res := result{fault: f}
	w, err := newWorld(ctx, env, number, f.name, f.layout)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if !f.fresh {
		begun := now()
		if err := w.settled(ctx, 90*time.Second, 2*time.Second); err != nil {
			return res, err
		}
		env.say("%s: settled after %.1f s", f.name, now().sub(begun).Seconds())
		if err := w.pause(ctx, t.quiet); err != nil {
			return res, err
		}
	}
	w.history.meet()
	w.history.begin()
	res.period.struck = now()
	if err := f.strike(ctx, w); err != nil {
		return res, err
	}
	res.period.back = now()
	env.say("%s: everything else is back", f.name)
	if err := w.pause(ctx, t.atLeast); err != nil {
		return res, err
	}
	rest := t.atMost - t.atLeast
	if err := w.settled(ctx, rest, 2*time.Second); err != nil && !errors.Is(err, errTimeout) {
		return res, err
	} else if err != nil {
		env.say("%s: %v", f.name, err)
	}
	res.period.end = now()
	if f.fresh {
		w.history.meet()
	}
	groups := f.groups(w.network)
	if err := w.close(ctx); err != nil {
		return res, err
	}
	res.history = w.history
	res.rows = measure(f.title, w.network.nodes, groups, w.history, res.period)
	if f.layout.hostile {
		s := w.history.searched.searches.shares(len(w.network.points), len(w.network.nodes), res.period.back.add(backBar), res.period.end)
		res.shares = &s
	}
	if late := w.history.registrations.lateness; late > mostLate {
		return res, fmt.Errorf("the observer was %.1f s late: the machine is too busy for this measurement", late.Seconds())
	}
	return res, nil
}
