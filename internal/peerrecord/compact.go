package peerrecord

import (
	"slices"

	ma "github.com/multiformats/go-multiaddr"
)

// compact returns addresses whose components are in one array, and in which components that
// are equal and at the same place of their addresses share their bytes.
func compact(addrs []ma.Multiaddr) []ma.Multiaddr {
	n := 0
	for _, a := range addrs {
		n += len(a)
	}
	all := make([]ma.Component, 0, n)
	compacted := make([]ma.Multiaddr, len(addrs))
	for i, a := range addrs {
		begin := len(all)
		for place := range a {
			if same := sharer(addrs[:i], a, place); same >= 0 {
				all = append(all, compacted[same][place])
			} else {
				all = append(all, a[place])
			}
		}
		compacted[i] = all[begin:len(all):len(all)]
	}
	return compacted
}

// memoryBeside returns about how many bytes an address takes once it is compact with others.
func memoryBeside(others []ma.Multiaddr, a ma.Multiaddr) int {
	const perAddr, perComponent, perValue = 24, 32, 6
	memory := perAddr + perComponent*len(a)
	for place := range a {
		if sharer(others, a, place) < 0 {
			memory += perValue + len(a[place].Bytes())
		}
	}
	return memory
}

// sharer returns which of addrs has the same component at a place as a has, or -1.
func sharer(addrs []ma.Multiaddr, a ma.Multiaddr, place int) int {
	return slices.IndexFunc(addrs, func(b ma.Multiaddr) bool { return place < len(b) && b[place].Equal(&a[place]) })
}
