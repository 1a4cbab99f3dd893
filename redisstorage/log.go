package redisstorage

import "github.com/libp2p/go-libp2p/gologshim"

var log = gologshim.Logger("rendezvous-redis")
