// Command rendezvous runs a rendezvous point for libp2p. It is also a client, to
// try and to inspect points:
//
//	rendezvous serve                                  # run a point
//	rendezvous discover --point /ip4/…/p2p/12D3… news # ask a point who is in "news"
//
// "rendezvous help" describes every command. docs/operating.md describes how to run
// a point for others.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal, restore the default handling: a second one kills the process.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the program and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	return report(stderr, app.Run(ctx, args))
}

const appDescription = `A rendezvous point tracks which peers of a libp2p network are alive in which
namespace. Peers register with it every few seconds and ask it for other peers.

Run a point, with a status page on http://127.0.0.1:8080:

   rendezvous serve --storage leveldb:/var/lib/rendezvous/db --http 127.0.0.1:8080

Query a point, at an address that serve has logged:

   rendezvous ping     --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…
   rendezvous discover --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

Every flag is also an environment variable (--max-ttl is RENDEZVOUS_MAX_TTL) and a
key in the YAML file that --config names (max-ttl: 10s). A flag overrides a variable,
and a variable overrides the file.

For shell completion, run: source <(rendezvous completion bash). In bash this needs
the package bash-completion. Completion for zsh and fish works likewise.

EXIT STATUS:
   0  success
   1  any failure not listed below
   2  wrong usage: a flag, an argument, or the configuration file
   3  cannot start: a port is in use, a key is unreadable, a database is locked
   4  a point could not be reached, or did not answer
   5  a point refused a request
 130  interrupted before it had an answer`

func newApp(stdout, stderr io.Writer) *cli.Command {
	conf := new(configFile)
	app := &cli.Command{
		Name:        "rendezvous",
		Usage:       "run a rendezvous point for libp2p, or query one",
		Description: appDescription,
		Version:     version(),
		Writer:      stdout,
		ErrWriter:   stderr,
		Commands: []*cli.Command{
			serveCommand(),
			registerCommand(),
			discoverCommand(),
			watchCommand(),
			pingCommand(),
			idCommand(),
			benchCommand(),
		},
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.Hidden = false
			c.Usage = "print a completion script for bash, zsh, fish or pwsh"
		},
		// cli must not print errors or exit itself: run does both.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError:   onUsageError,
		Action:         noCommand,
	}
	for _, c := range app.Commands {
		conf.bind(c)
		c.OnUsageError = onUsageError
	}
	conf.flags = settings(app)
	return app
}

// noCommand runs if the command line names no command, or an unknown one.
func noCommand(_ context.Context, cmd *cli.Command) error {
	if name := cmd.Args().First(); name != "" {
		return usagef("unknown command %q; rendezvous help lists the commands", name)
	}
	return cli.ShowAppHelp(cmd)
}

// unknownFlag is how an error of cli begins that is about a flag that does not exist.
const unknownFlag = "flag provided but not defined: -"

// onUsageError returns the error for a command line that cli cannot parse.
func onUsageError(ctx context.Context, cmd *cli.Command, err error, _ bool) error {
	flag, unknown := strings.CutPrefix(err.Error(), unknownFlag)
	switch isApp := cmd == cmd.Root(); {
	case unknown && isApp && cmd.Args().Present():
		return noCommand(ctx, cmd) // an unknown command, with a flag
	case unknown && isApp:
		return usagef("no command before the flag %q; rendezvous help lists the commands", flag)
	case unknown:
		return usagef("unknown flag %q; the nearest is --%s; see %s --help", flag, nearestFlag(cmd.Flags, flag), cmd.FullName())
	}
	return usagef("%w; see %s --help", err, cmd.FullName())
}
