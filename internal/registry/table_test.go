package registry

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	var tab table[string, int]
	want := make(map[string]int)
	check := func() {
		t.Helper()
		require.Equal(t, want, entriesOf(t, &tab))
		for _, k := range []string{"", "a", "7", "77", "777"} {
			require.Equal(t, want[k], tab.get(k))
		}
	}
	check()
	// It grows, shrinks in a random order, and grows again.
	for _, n := range []int{30_000, 1, 20_000, 100, 0, 10} {
		for len(want) < n {
			k := fmt.Sprint(rand.IntN(100_000))
			if _, ok := want[k]; !ok {
				want[k] = rand.Int()
				tab.add(k, want[k])
			}
		}
		for k := range want {
			if len(want) <= n {
				break
			}
			delete(want, k)
			tab.delete(k)
		}
		check()
	}
}

func TestShrink(t *testing.T) {
	for _, size := range []int{0, 1, 8, 9, 12, 100, 4000} {
		for _, room := range []int{0, 1, 8, 9, 30, 100, 4001, 20_000} {
			s := make([]int, size, size+room)
			for i := range s {
				s[i] = i
			}
			got := shrink(s)
			require.Equal(t, s, got)
			require.LessOrEqual(t, cap(got), max(8, 4*size+3))
			require.GreaterOrEqual(t, cap(got), min(cap(s), 2*size), "room to grow again")
		}
	}
}
