package main

// The rendezvous point.

import (
	"errors"
	"fmt"
	"os"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

// point is a rendezvous point with a LevelDB database in a temporary directory.
type point struct {
	dir     string
	db      *rendezvous.LevelDB
	storage rendezvous.Storage
	host    host.Host
	service *rendezvous.RendezvousService
}

func startPoint() (p *point, err error) {
	p = new(point)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.dir, err = os.MkdirTemp("", "rendezvous-demo-"); err != nil {
		return p, err
	}
	if p.db, err = rendezvous.OpenLevelDB(p.dir); err != nil {
		return p, err
	}
	p.storage = rendezvous.NewStorage(p.db)
	if p.host, err = libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0")); err != nil {
		return p, err
	}
	p.service = rendezvous.NewRendezvousService(p.host, p.storage)
	return p, p.service.Start()
}

func (p *point) info() peer.AddrInfo {
	return peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()}
}

func (p *point) addr() string {
	return fmt.Sprintf("%s/p2p/%s", p.host.Addrs()[0], p.host.ID())
}

// close stops whatever was started, in reverse order, and removes the directory.
func (p *point) close() error {
	var errs []error
	if p.service != nil {
		p.service.Stop()
	}
	if p.host != nil {
		errs = append(errs, p.host.Close())
	}
	if p.storage != nil {
		errs = append(errs, p.storage.Close())
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}
