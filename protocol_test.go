package rendezvous

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
)

// vector is a frame made by another implementation, and its meaning.
type vector struct {
	Name    string `json:"name"`
	Frame   string `json:"frame_hex"`
	Decoded struct {
		Type       string   `json:"type"`
		Ns         string   `json:"ns"`
		TTL        int64    `json:"ttl"`
		Limit      int64    `json:"limit"`
		Status     int32    `json:"status"`
		StatusText string   `json:"status_text"`
		PeerID     string   `json:"peer_id"`
		Record     string   `json:"signed_peer_record_hex"`
		Addrs      []string `json:"addrs"`

		Registrations []struct {
			Ns     string `json:"ns"`
			PeerID string `json:"peer_id"`
			TTL    int64  `json:"ttl"`
		} `json:"registrations"`
	} `json:"decoded"`
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors/wire.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.NotEmpty(t, vectors)
	return vectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestGrantTTL(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		0:             20 * time.Second,
		1:             time.Second,
		20:            20 * time.Second,
		21:            -1,
		-1:            -1,
		math.MaxInt64: -1,
		math.MinInt64: -1,
	} {
		got, err := grantTTL(seconds, DefaultTTL, MaxTTL)
		if want < 0 {
			require.ErrorIs(t, err, ErrInvalidTTL, "%d seconds", seconds)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, got, "%d seconds", seconds)
	}
}

func TestGrantLimit(t *testing.T) {
	for limit, want := range map[int64]int{
		0: 1000, -1: 1000, math.MinInt64: 1000, 1: 1, 999: 999, 1000: 1000, 1001: 1000, math.MaxInt64: 1000,
	} {
		require.Equal(t, want, grantLimit(limit, MaxDiscoverLimit), "limit %d", limit)
	}
}

func TestRemainingSeconds(t *testing.T) {
	for left, want := range map[time.Duration]int32{
		20*time.Second + grace:                    20, // just registered
		20*time.Second + grace - time.Nanosecond:  20,
		19*time.Second + grace:                    19,
		18*time.Second + grace + time.Millisecond: 19,
		time.Second + grace:                       1,
		grace:                                     1, // only the grace is left
		time.Nanosecond:                           1,
	} {
		require.Equal(t, want, remainingSeconds(left), "%v left", left)
	}
}

func TestClampTTL(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		1: time.Second, 20: MaxTTL, 21: MaxTTL, 0: MaxTTL, -1: MaxTTL, math.MaxInt64: MaxTTL, math.MinInt64: MaxTTL,
	} {
		require.Equal(t, want, clampTTL(seconds, MaxTTL), "%d seconds", seconds)
	}
}

func TestStatusError(t *testing.T) {
	sentinels := []error{ErrInvalidNamespace, ErrInvalidPeerInfo, ErrInvalidTTL, ErrNotAuthorized, ErrInternal, ErrUnavailable}
	for i, status := range []int32{100, 101, 102, 200, 300, 400} {
		err := statusError(status, "why")
		for j, sentinel := range sentinels {
			require.Equal(t, i == j, errors.Is(err, sentinel), "%v is %v", err, sentinel)
		}
		var s *StatusError
		require.ErrorAs(t, err, &s)
		require.Equal(t, "why", s.Text)
	}
	require.NoError(t, statusError(0, "fine"))
	require.EqualError(t, statusError(100, "why"), `invalid namespace: "why"`)
	require.ErrorContains(t, statusError(999, "new"), "999")
	long := statusError(400, strings.Repeat("é", 1<<20))
	require.Less(t, len(long.Error()), 1<<10)
	require.NotContains(t, long.Error(), `\x`, "cut between runes")
}

func TestInvalidRecordNamesNoSecrets(t *testing.T) {
	_, err := peerrecord.Open([]byte("not an envelope"), "")
	refused, reason := refusalOf(err)
	require.ErrorIs(t, refused, ErrInvalidPeerInfo)
	require.Equal(t, ReasonInvalidPeerInfo, reason)
	require.NotContains(t, refused.Text, "proto", "inner details stay inside")
}

func TestDialect(t *testing.T) {
	require.Equal(t, RendezvousID_v001, wire.Waku.ID)
	require.Equal(t, 16<<10, wire.Waku.MaxRequest)
	require.Equal(t, 4<<20, wire.Waku.MaxAnswer)
}
