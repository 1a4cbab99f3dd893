package main

// Arguments of commands.

import "github.com/urfave/cli/v3"

// namespaceArg returns the namespace, which is a command's only argument.
func namespaceArg(cmd *cli.Command) (string, error) {
	switch cmd.NArg() {
	case 0:
		return "", usagef("no namespace given; usage: rendezvous %s --point MULTIADDR NS", cmd.Name)
	case 1:
		return cmd.Args().First(), nil
	default:
		return "", usagef("%d namespaces given, want one; flags go before it", cmd.NArg())
	}
}

func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usagef("unexpected argument %q: %s takes none", cmd.Args().First(), cmd.Name)
	}
	return nil
}
