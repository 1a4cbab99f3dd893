package main

// Arguments of commands.

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"
)

// namespaceArg returns the namespace, which is a command's only argument.
func namespaceArg(cmd *cli.Command) (string, error) {
	switch cmd.NArg() {
	case 0:
		return "", usagef("no namespace given; usage: rendezvous %s --point MULTIADDR NS", cmd.Name)
	case 1:
		return cmd.Args().First(), nil
	default:
		if err := noPoints(cmd); err != nil {
			return "", err
		}
		return "", usagef("%d namespaces given, want one", cmd.NArg())
	}
}

// noPoints refuses a point that is given as an argument.
func noPoints(cmd *cli.Command) error {
	for _, arg := range cmd.Args().Slice() {
		if _, err := peer.AddrInfoFromString(arg); err == nil {
			return usagef("unexpected argument %q: name a point with --point", arg)
		}
	}
	return nil
}

func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		if err := noPoints(cmd); err != nil {
			return err
		}
		return usagef("unexpected argument %q: %s takes none", cmd.Args().First(), cmd.Name)
	}
	return nil
}
