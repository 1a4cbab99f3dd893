// Command benchstorage measures the memory storage as it fills, prints tables, and fails
// if a target is missed:
//
//   - Add, Sample(50) and Page(1000) cost at most 3 times as much with a million
//     registrations as with a thousand, also a page after half of them were refreshed.
//   - When a million registrations expire at once, no Add and no Sample takes more than
//     10 ms.
//   - A registration takes at most 300 bytes of heap in addition to its envelope, and
//     none after it has expired, even if nobody uses the storage.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
)

var costsOnly = flag.Bool("costs", false, "measure only the costs of Add and Sample")

func main() {
	flag.Parse()
	fmt.Printf("%s, %d CPUs; envelopes of %d bytes\n\n", runtime.Version(), runtime.NumCPU(), envelopeSize)
	met, err := measureAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchstorage:", err)
		os.Exit(1)
	}
	if !met {
		os.Exit(1)
	}
}

// measureAll reports whether all targets are met.
func measureAll() (bool, error) {
	var t targets
	if err := compareCosts(&t); err != nil {
		return false, err
	}
	if *costsOnly {
		return t.missed == 0, nil
	}
	if err := measureHeap(&t, "one namespace", *fullSize, 1); err != nil {
		return false, err
	}
	if err := measureHeap(&t, "namespaces of ten", *fullSize, *fullSize/10); err != nil {
		return false, err
	}
	if err := measureExpiry(&t); err != nil {
		return false, err
	}
	return t.missed == 0, nil
}
