package main

// The subcommand register: being in a namespace.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const registerDescription = `Registers in a namespace and stays so until Ctrl-C, whatever becomes of the points
meanwhile. Prints a line whenever something changes.

   rendezvous register --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

It listens on ports of the system's choice. To be found under other addresses:

   rendezvous register --announce /dns4/me.example.org/tcp/9000 news`

func registerCommand() *cli.Command {
	return &cli.Command{
		Name:        "register",
		Usage:       "be in a namespace until interrupted",
		ArgsUsage:   "NS",
		Description: registerDescription,
		Flags: []cli.Flag{
			pointFlag(),
			&cli.StringSliceFlag{Name: "listen", Usage: "listen on `MULTIADDR`; repeat for more", Value: []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}},
			&cli.StringSliceFlag{Name: "announce", Usage: "register `MULTIADDR` in place of the addresses listened on; repeat for more"},
			jsonFlag(),
		},
		Action: register,
	}
}

func register(ctx context.Context, cmd *cli.Command) error {
	ns, err := namespace(cmd)
	if err != nil {
		return err
	}
	points, err := parsePoints(cmd)
	if err != nil {
		return err
	}
	h, err := newRegisteredHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()

	client := rendezvous.NewClient(h, rendezvous.WithPoints(points...), rendezvous.WithRedundancy(len(points)))
	states, err := client.KeepRegistered(ctx, ns)
	if err != nil {
		return refused(err)
	}
	show := showState
	if cmd.Bool("json") {
		show = showStateJSON
	} else {
		fmt.Fprintf(cmd.Root().Writer, "registering %s in %q; Ctrl-C ends it\n", h.ID(), ns)
	}
	var last rendezvous.NamespaceState
	shown := make(map[string]string)
	for s := range states {
		last = s.Namespaces[0]
		if err := show(cmd.Root().Writer, last, shown); err != nil {
			return err
		}
	}
	if !last.Findable() {
		return asked(fmt.Errorf("was not registered at the end: %w", cmp.Or(last.Err, errNoAnswer)))
	}
	return nil
}

// errNoAnswer is what there is to say where no point has answered as yet.
var errNoAnswer = errors.New("no point has answered")

// newRegisteredHost returns a host that others can connect to.
func newRegisteredHost(cmd *cli.Command) (host.Host, error) {
	addrs, err := parseAddrs("listen", cmd.StringSlice("listen"))
	if err != nil {
		return nil, err
	}
	announce, err := parseAddrs("announce", cmd.StringSlice("announce"))
	if err != nil {
		return nil, err
	}
	var opts []libp2p.Option
	if len(announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return announce }))
	}
	h, err := newClientHost(opts...)
	if err != nil {
		return nil, err
	}
	if err := listen(h, addrs); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// showState prints what has changed since it was shown: of each point, or, where
// there is none yet, of the namespace.
func showState(w io.Writer, s rendezvous.NamespaceState, shown map[string]string) error {
	lines := make(map[string]string)
	for _, p := range s.Points {
		lines[p.Point.String()] = pointLine(p)
	}
	if s.Err != nil && len(lines) == 0 {
		lines[""] = "not registered: " + s.Err.Error()
	}
	for key, line := range lines {
		if shown[key] == line {
			continue
		}
		shown[key] = line
		if _, err := fmt.Fprintf(w, "%s  %s\n", time.Now().Format(time.TimeOnly), oneLine(strings.TrimSpace(line+" "+key))); err != nil {
			return failf(exitFailed, "print: %w", err)
		}
	}
	return nil
}

func pointLine(p rendezvous.PointState) string {
	live := time.Now().Before(p.Until)
	switch {
	case live && p.Err == nil:
		return "registered at"
	case live:
		return fmt.Sprintf("registered until %s, and not longer as yet (%v) at", p.Until.Format(time.TimeOnly), p.Err)
	case p.Err != nil:
		return fmt.Sprintf("not registered (%v) at", p.Err)
	default:
		return "not registered any more at"
	}
}

// standing is a state as JSON.
type standing struct {
	Namespace string          `json:"namespace"`
	Findable  bool            `json:"findable"`
	Points    []pointStanding `json:"points"`
	Error     string          `json:"error,omitempty"`
}

type pointStanding struct {
	Point string     `json:"point"`
	Until *time.Time `json:"until,omitempty"`
	Error string     `json:"error,omitempty"`
}

func showStateJSON(w io.Writer, s rendezvous.NamespaceState, _ map[string]string) error {
	out := standing{Namespace: s.Namespace, Findable: s.Findable(), Points: []pointStanding{}, Error: errorText(s.Err)}
	for _, p := range s.Points {
		at := pointStanding{Point: p.Point.String(), Error: errorText(p.Err)}
		if !p.Until.IsZero() {
			at.Until = &p.Until
		}
		out.Points = append(out.Points, at)
	}
	return printJSON(w, out)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// refused is an error of what was asked for, and not of a point.
func refused(err error) error {
	if errors.Is(err, rendezvous.ErrInvalidNamespace) {
		return &failure{exitUsage, err}
	}
	return &failure{exitFailed, err}
}
