package rendezvous

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The latency of a refresh, in memory and over LevelDB.
func BenchmarkRefresh(b *testing.B) {
	db, err := OpenLevelDB(filepath.Join(b.TempDir(), "db"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	for name, s := range map[string]Storage{"memory": NewMemoryStorage(), "LevelDB": NewStorage(db)} {
		b.Run(name, func(b *testing.B) {
			records := make([]Record, 1000)
			for i := range records {
				records[i] = testRecord("/waku/2/default", fmt.Sprintf("%038d", i), time.Hour)
				records[i].Envelope = append(records[i].Envelope, make([]byte, 200)...)
			}
			for i := 0; b.Loop(); i++ {
				require.NoError(b, s.Add(b.Context(), records[i%len(records)], Quota{PerPeer: 1000}))
			}
		})
		b.Cleanup(func() { require.NoError(b, s.Close()) })
	}
}
