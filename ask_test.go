package rendezvous

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// BenchmarkAccept accepts an answer of 50 new registrations, and the same answer again.
func BenchmarkAccept(b *testing.B) {
	h := newHost(b)
	var answer []wire.Registration
	for _, e := range sealedRecords(b, 50) {
		answer = append(answer, wire.Registration{Namespace: []byte("n"), Envelope: e, TTL: 20})
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			found, err := NewClient(h).asker.accept(b.Context(), wire.Waku, "a point", "n", answer, new(RequestEnded))
			require.NoError(b, err)
			require.Len(b, found, len(answer))
		}
	})
	b.Run("known", func(b *testing.B) {
		a := NewClient(h).asker
		for b.Loop() {
			found, err := a.accept(b.Context(), wire.Waku, "a point", "n", answer, new(RequestEnded))
			require.NoError(b, err)
			require.Len(b, found, len(answer))
		}
	})
}
