package main

// The command watch: reports peers that join and leave a namespace.

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const watchDescription = `Prints a line whenever a peer joins or leaves a namespace, until Ctrl-C. A peer that
goes away counts as gone when its registration expires, within 20 seconds; over
/rendezvous/1.0.0 that may take hours, unless it unregisters. A message on
standard error says when no point has answered for 20 seconds, and another when
one answers again.

   rendezvous watch --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news`

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:        "watch",
		Usage:       "report peers that join and leave a namespace, until interrupted",
		ArgsUsage:   "NS",
		Description: watchDescription,
		Flags: []cli.Flag{
			pointFlag(),
			protocolFlag(),
			pskFlag(""),
			jsonFlag(),
			&cli.DurationFlag{Name: "timeout", Usage: "give up if no point can be reached within `DURATION`", Value: 5 * time.Second},
		},
		Action: watch,
	}
}

func watch(ctx context.Context, cmd *cli.Command) error {
	ns, err := namespaceArg(cmd)
	if err != nil {
		return err
	}
	from, h, err := targetAndHost(cmd)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := dialWithin(ctx, cmd.Duration("timeout"), h, from.points); err != nil {
		return err
	}
	client := from.client(h, rendezvous.WithRedundancy(len(from.points)))
	events, err := client.Watch(ctx, ns)
	if err != nil {
		return startError(err)
	}
	r := watchReport{out: cmd.Root().Writer, errOut: cmd.Root().ErrWriter, printEvent: printEventText}
	if cmd.Bool("json") {
		r.printEvent = printEventJSON
	}
	return r.run(events, func() error { return h.explain(client.SearchErr()) })
}

// watchReport prints what happens in a namespace.
type watchReport struct {
	out, errOut io.Writer
	printEvent  func(io.Writer, rendezvous.Event) error
	silent      bool // whether the reader knows that no point answers
}

// run prints events until there are no more. It says when no point answers any more, which
// searchErr returns, because it then cannot tell who joins or leaves.
func (r *watchReport) run(events <-chan rendezvous.Event, searchErr func() error) error {
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		select {
		case e, more := <-events:
			if !more {
				return nil
			}
			if err := r.printEvent(r.out, e); err != nil {
				return err
			}
		case <-looks.C:
			if err := r.tellSilence(searchErr()); err != nil {
				return err
			}
		}
	}
}

func (r *watchReport) tellSilence(silence error) (err error) {
	now := time.Now().Format(time.TimeOnly)
	switch {
	case silence != nil && !r.silent:
		err = printLine(r.errOut, "%s  no point answers: %s", now, oneLine(silence.Error()))
	case silence == nil && r.silent:
		err = printLine(r.errOut, "%s  a point answers again", now)
	}
	r.silent = silence != nil
	return err
}

// dialWithin fails unless at least one point is reachable, or the user interrupts it. A
// point that goes away later does not end the command.
func dialWithin(ctx context.Context, timeout time.Duration, h *clientHost, points []peer.AddrInfo) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := h.dialAny(limited, points); ctx.Err() == nil {
		return err
	}
	return nil
}

// eventSigns stand for the types of events in the text that is printed.
var eventSigns = map[rendezvous.EventType]string{
	rendezvous.Joined: "+",
	rendezvous.Moved:  "~",
	rendezvous.Left:   "-",
}

func printEventText(w io.Writer, e rendezvous.Event) error {
	line := fmt.Sprintf("%s  %s %s  %s", time.Now().Format(time.TimeOnly), eventSigns[e.Type], e.Peer.ID, strings.Join(addrStrings(e.Peer), " "))
	return printLine(w, "%s", strings.TrimSpace(line))
}

// eventJSON is an event, as it is printed with --json.
type eventJSON struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // joined, moved or left
	Peer  string    `json:"peer"`
	Addrs []string  `json:"addrs,omitempty"`
}

func printEventJSON(w io.Writer, e rendezvous.Event) error {
	return printJSON(w, eventJSON{time.Now(), e.Type.String(), e.Peer.ID.String(), addrStrings(e.Peer)})
}
