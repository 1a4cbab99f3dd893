package main

// The addresses that a peer announces instead of those that it listens on. A mistake in
// one shows only when others cannot dial it, so they are checked before anything starts.

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
)

// parseAnnounced parses --announce. It refuses addresses that no peer can dial.
func parseAnnounced(values []string, psk pnet.PSK) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, 0, len(values))
	for _, v := range values {
		a, err := ma.NewMultiaddr(v)
		if err != nil {
			return nil, usagef("--announce %q is not a multiaddr such as /dns4/point.example.org/tcp/4040: %w", v, err)
		}
		if err := checkDialable(a); err != nil {
			return nil, usagef("--announce %q cannot be dialed: %w", v, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, checkPrivate("announce", psk, addrs)
}

// checkDialable returns an error if no peer can dial an address. It does not know what
// peers can reach, so it accepts loopback and private addresses.
func checkDialable(a ma.Multiaddr) error {
	switch first := a[0]; first.Code() {
	case ma.P_IP4, ma.P_IP6:
		ip, ok := netip.AddrFromSlice(first.RawValue())
		switch ip = ip.Unmap(); {
		case !ok:
			return fmt.Errorf("%s is not an IP address", first.Value())
		case ip.IsUnspecified():
			return fmt.Errorf("%s stands for all addresses of this machine; name the one that peers dial", ip)
		case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			return fmt.Errorf("%s is not the address of one machine", ip)
		}
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
	case ma.P_DNSADDR:
		return nil // the name stands for whole addresses
	case ma.P_P2P:
		if len(a) > 1 && a[1].Code() == ma.P_CIRCUIT {
			return nil
		}
		return errors.New("it begins with neither an IP address nor a name")
	default:
		return errors.New("it begins with neither an IP address nor a name")
	}
	return checkTransport(a[1:])
}

// checkTransport checks what follows an IP address or a name.
func checkTransport(a ma.Multiaddr) error {
	switch {
	case len(a) == 0 || a[0].Code() != ma.P_TCP && a[0].Code() != ma.P_UDP:
		return errors.New("it has no port, such as /tcp/4040 or /udp/4040/quic-v1")
	case a[0].Value() == "0":
		return errors.New("port 0 stands for a port that the system chooses; name the one that peers dial")
	case a[0].Code() == ma.P_UDP && (len(a) < 2 || a[1].Code() != ma.P_QUIC_V1 && a[1].Code() != ma.P_WEBRTC_DIRECT):
		return errors.New("after the UDP port it needs /quic-v1 or /webrtc-direct")
	}
	return nil
}

// withoutID removes a peer's ID from the end of its addresses, where users copy it from
// what serve logs. libp2p adds it where it is needed. The ID of another peer is an error.
func withoutID(addrs []ma.Multiaddr, id peer.ID) ([]ma.Multiaddr, error) {
	bare := make([]ma.Multiaddr, 0, len(addrs))
	for _, a := range addrs {
		transport, other := peer.SplitAddr(a)
		switch {
		case other == "":
		case other != id:
			return nil, usagef("--announce %q ends with the ID of another peer; leave out /p2p/%s", a, other)
		case len(transport) == 0:
			return nil, usagef("--announce %q is a peer ID without an address", a)
		default:
			a = transport
		}
		bare = append(bare, a)
	}
	return bare, nil
}
