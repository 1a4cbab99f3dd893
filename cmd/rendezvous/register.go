package main

// The command register: stays registered in a namespace.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const registerDescription = `Registers in a namespace and stays registered until Ctrl-C, even if points fail
meanwhile. Prints a line whenever something changes.

   rendezvous register --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

It listens on ports that the system chooses. To register other addresses:

   rendezvous register --announce /dns4/me.example.org/tcp/9000 news`

func registerCommand() *cli.Command {
	return &cli.Command{
		Name:        "register",
		Usage:       "register in a namespace, until interrupted",
		ArgsUsage:   "NS",
		Description: registerDescription,
		Flags: []cli.Flag{
			pointFlag(),
			protocolFlag(),
			pskFlag(""),
			&cli.StringSliceFlag{Name: "listen", Usage: "listen on `MULTIADDR`; repeatable", Value: []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}},
			&cli.StringSliceFlag{Name: "announce", Usage: "register `MULTIADDR` instead of the listen addresses; repeatable"},
			jsonFlag(),
		},
		Action: register,
	}
}

func register(ctx context.Context, cmd *cli.Command) error {
	ns, err := namespaceArg(cmd)
	if err != nil {
		return err
	}
	to, err := parseTarget(cmd)
	if err != nil {
		return err
	}
	h, err := newListeningHost(cmd, to.psk)
	if err != nil {
		return err
	}
	defer h.Close()

	client := to.client(h, rendezvous.WithRedundancy(len(to.points)))
	states, err := client.KeepRegistered(ctx, ns)
	if err != nil {
		return startError(err)
	}
	printState := (&statePrinter{printed: make(map[string]string)}).print
	if cmd.Bool("json") {
		printState = printStateJSON
	} else if err := printLine(cmd.Root().Writer, "registering %s in %q; press Ctrl-C to stop", h.ID(), ns); err != nil {
		return err
	}
	var last rendezvous.NamespaceState
	for s := range states {
		last = explained(h, s.Namespaces[0])
		if err := printState(cmd.Root().Writer, last); err != nil {
			return err
		}
	}
	if !last.Findable() {
		return requestError(fmt.Errorf("not registered at the end: %w", cmp.Or(last.Err, errNoAnswer)))
	}
	return nil
}

// explained returns a state whose errors say why points cannot be reached.
func explained(h *clientHost, s rendezvous.NamespaceState) rendezvous.NamespaceState {
	s.Points = slices.Clone(s.Points)
	for i := range s.Points {
		s.Points[i].Err = h.explain(s.Points[i].Err)
	}
	s.Err = h.explain(s.Err)
	return s
}

// errNoAnswer stands in for an error while no point has answered or failed yet.
var errNoAnswer = errors.New("no point has answered")

// newListeningHost returns a host that other peers can connect to.
func newListeningHost(cmd *cli.Command, psk pnet.PSK) (*clientHost, error) {
	addrs, err := parseListen(cmd, psk)
	if err != nil {
		return nil, err
	}
	announce, err := parseAnnounced(cmd.StringSlice("announce"), psk)
	if err != nil {
		return nil, err
	}
	// The peer ID is another one each time, so no address can already end with it.
	if announce, err = withoutID(announce, ""); err != nil {
		return nil, err
	}
	opts := []libp2p.Option{libp2p.PrivateNetwork(psk)}
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

// statePrinter prints what has changed since it last printed something.
type statePrinter struct {
	printed map[string]string // the newest line, by point; "" for the namespace
}

// print prints a line for each point, or for the namespace if it has no points yet.
func (p *statePrinter) print(w io.Writer, s rendezvous.NamespaceState) error {
	lines := make(map[string]string)
	for _, at := range s.Points {
		lines[at.Point.String()] = pointLine(at)
	}
	if s.Err != nil && len(lines) == 0 {
		lines[""] = "not registered: " + s.Err.Error()
	}
	for point, line := range lines {
		if p.printed[point] == line {
			continue
		}
		p.printed[point] = line
		if err := printLine(w, "%s  %s", time.Now().Format(time.TimeOnly), oneLine(strings.TrimSpace(line+" "+point))); err != nil {
			return err
		}
	}
	return nil
}

// pointLine describes the state at a point. The point's ID comes after it.
func pointLine(p rendezvous.PointState) string {
	live := time.Now().Before(p.Until)
	switch {
	case live && p.Err == nil:
		return "registered at"
	case live:
		return fmt.Sprintf("registered until %s, but the last refresh failed (%v) at", p.Until.Format(time.TimeOnly), p.Err)
	case p.Err != nil:
		return fmt.Sprintf("not registered (%v) at", p.Err)
	default:
		return "no longer registered at"
	}
}

// namespaceStateJSON is the state of a namespace, as it is printed with --json.
type namespaceStateJSON struct {
	Namespace string           `json:"namespace"`
	Findable  bool             `json:"findable"`
	Points    []pointStateJSON `json:"points"`
	Error     string           `json:"error,omitempty"`
}

type pointStateJSON struct {
	Point    string     `json:"point"`
	Protocol string     `json:"protocol,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Error    string     `json:"error,omitempty"`
}

func printStateJSON(w io.Writer, s rendezvous.NamespaceState) error {
	state := namespaceStateJSON{Namespace: s.Namespace, Findable: s.Findable(), Points: []pointStateJSON{}, Error: errorText(s.Err)}
	for _, p := range s.Points {
		at := pointStateJSON{Point: p.Point.String(), Protocol: string(p.Protocol), Error: errorText(p.Err)}
		if !p.Until.IsZero() {
			at.Until = &p.Until
		}
		state.Points = append(state.Points, at)
	}
	return printJSON(w, state)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
