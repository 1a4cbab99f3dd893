// Command rendezvous runs a rendezvous point, and is a tool to see what points do.
//
//	rendezvous serve                                  # be a point
//	rendezvous discover --point /ip4/…/p2p/12D3… news # ask one
//
// rendezvous help says more, and docs/operating.md how to run a point for others.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, as if nobody listened to signals.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program, without what it is given by its process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	return report(stderr, app.Run(ctx, args))
}

const appDescription = `A rendezvous point knows which peers of a libp2p network are alive, by namespace.
Peers register with it every few seconds and ask it for others.

Run a point, with a status page on http://127.0.0.1:8080:

   rendezvous serve --storage leveldb:/var/lib/rendezvous/db --http 127.0.0.1:8080

Ask one, at the address that serve shows:

   rendezvous ping     --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW…
   rendezvous discover --point /ip4/192.0.2.1/tcp/4040/p2p/12D3KooW… news

Every flag is also an environment variable (--max-ttl is RENDEZVOUS_MAX_TTL) and a
key in the YAML file of --config (max-ttl: 10s). A flag wins over a variable, and
a variable over the file.

Completion: source <(rendezvous completion bash), for which bash needs its package
bash-completion, and likewise for zsh and fish.

EXIT STATUS:
   0  done
   1  failed, for none of the reasons below
   2  wrong usage: a flag, an argument, or the configuration file
   3  cannot start: a port is taken, a key unreadable, a database locked
   4  a point was not reached, or did not answer
   5  a point refused`

func newApp(stdout, stderr io.Writer) *cli.Command {
	conf := new(configFile)
	app := &cli.Command{
		Name:        "rendezvous",
		Usage:       "a rendezvous point for libp2p, and a tool to see what points do",
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
		// What went wrong is told in one place, and the exit status with it.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		OnUsageError:   onUsageError,
		Action:         noCommand,
	}
	for _, c := range app.Commands {
		conf.bind(c)
		c.OnUsageError = onUsageError
	}
	conf.known = flagNames(app)
	return app
}

// noCommand is what happens when no command was named, or an unknown one.
func noCommand(_ context.Context, cmd *cli.Command) error {
	if name := cmd.Args().First(); name != "" {
		return usagef("there is no command %q; rendezvous help lists them", name)
	}
	return cli.ShowAppHelp(cmd)
}
