package main

// The names in the addresses of points. libp2p says only that a peer has no good addresses
// if a name does not resolve.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// nameResolver resolves the names in addresses for a host, and remembers which it could
// not resolve at the last attempt.
type nameResolver struct {
	network.MultiaddrDNSResolver

	mu     sync.Mutex
	failed map[string]error // by name
}

func newNameResolver() *nameResolver {
	return &nameResolver{
		MultiaddrDNSResolver: swarm.ResolverFromMaDNS{Resolver: madns.DefaultResolver},
		failed:               make(map[string]error),
	}
}

// ResolveDNSAddr implements [network.MultiaddrDNSResolver].
func (r *nameResolver) ResolveDNSAddr(ctx context.Context, id peer.ID, a ma.Multiaddr, recursions, limit int) ([]ma.Multiaddr, error) {
	r.set(a, errNoDNSAnswer)
	addrs, err := r.MultiaddrDNSResolver.ResolveDNSAddr(ctx, id, a, recursions, limit)
	r.set(a, lookupError(addrs, err))
	return addrs, err
}

// ResolveDNSComponent implements [network.MultiaddrDNSResolver].
func (r *nameResolver) ResolveDNSComponent(ctx context.Context, a ma.Multiaddr, limit int) ([]ma.Multiaddr, error) {
	r.set(a, errNoDNSAnswer)
	addrs, err := r.MultiaddrDNSResolver.ResolveDNSComponent(ctx, a, limit)
	r.set(a, lookupError(addrs, err))
	return addrs, err
}

var (
	errNoDNSAnswer = errors.New("no answer")
	errNoAddress   = errors.New("it has no address of this kind")
)

// lookupError returns why a name has no address, or nil if it has.
func lookupError(addrs []ma.Multiaddr, err error) error {
	failed, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && failed.IsNotFound:
		return errors.New("no such host")
	case isDNS && failed.IsTimeout:
		return errNoDNSAnswer
	case isDNS:
		return errors.New(failed.Err)
	case err == nil && len(addrs) == 0:
		return errNoAddress
	}
	return err
}

// set sets what is remembered of the name in an address; nil means that it resolves.
func (r *nameResolver) set(a ma.Multiaddr, err error) {
	name, ok := nameIn(a)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[name] = err
}

// failures returns an error for each name in addrs that did not resolve.
func (r *nameResolver) failures(addrs []ma.Multiaddr) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failures []error
	seen := make(map[string]bool)
	for _, a := range addrs {
		name, _ := nameIn(a)
		if err := r.failed[name]; err != nil && !seen[name] {
			seen[name] = true
			failures = append(failures, fmt.Errorf("the name %q does not resolve: %w", name, err))
		}
	}
	return failures
}

// nameIn returns the name with which an address begins, if it does.
func nameIn(a ma.Multiaddr) (name string, ok bool) {
	if len(a) == 0 {
		return "", false
	}
	switch a[0].Code() {
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6, ma.P_DNSADDR:
		return a[0].Value(), true
	}
	return "", false
}
