package rendezvous

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/libp2p/go-msgio"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// vector is a frame made by another implementation, and what it says.
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

// TestVectors decodes the frames of another implementation, and builds the same
// messages with this one's own functions: they must be the same frames.
func TestVectors(t *testing.T) {
	keys := make(map[string]bool)
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			frame, want := unhex(t, v.Frame), v.Decoded
			r := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(frame)))
			body, err := readFrame(r, nil, maxAnswerSize)
			require.NoError(t, err)
			_, err = readFrame(r, nil, maxAnswerSize)
			require.Equal(t, io.EOF, err)
			m, err := parseMessage(body)
			require.NoError(t, err)
			require.Equal(t, want.Type, m.GetType().String())

			var ours []byte
			switch m.GetType() {
			case pb.Message_REGISTER:
				require.Equal(t, want.Ns, m.GetRegister().GetNs())
				require.Equal(t, want.TTL, m.GetRegister().GetTtl())
				require.Equal(t, want.Record, hex.EncodeToString(m.GetRegister().GetSignedPeerRecord()))
				signed, rec, err := openRecord(m.GetRegister().GetSignedPeerRecord())
				require.NoError(t, err)
				require.Equal(t, want.PeerID, rec.PeerID.String())
				var addrs []string
				for _, a := range rec.Addrs {
					addrs = append(addrs, a.String())
				}
				require.Equal(t, want.Addrs, addrs)
				keys[signed.PublicKey.Type().String()] = true
				ours, err = appendFrame(nil, registerRequest(want.Ns, unhex(t, want.Record), time.Duration(want.TTL)*time.Second))
				require.NoError(t, err)
			case pb.Message_REGISTER_RESPONSE:
				require.EqualValues(t, want.Status, m.GetRegisterResponse().GetStatus())
				require.Equal(t, want.StatusText, m.GetRegisterResponse().GetStatusText())
				require.Equal(t, want.TTL, m.GetRegisterResponse().GetTtl())
				if want.Status == 0 {
					ours = appendRegistered(nil, time.Duration(want.TTL)*time.Second)
					break
				}
				ours, err = appendFrame(nil, refusal(pb.Message_REGISTER, refuse(Status(want.Status), want.StatusText)))
				require.NoError(t, err)
			case pb.Message_DISCOVER:
				require.Equal(t, want.Ns, m.GetDiscover().GetNs())
				require.Equal(t, want.Limit, m.GetDiscover().GetLimit())
				ours, err = appendFrame(nil, discoverRequest(want.Ns, int(want.Limit)))
				require.NoError(t, err)
			case pb.Message_DISCOVER_RESPONSE:
				require.EqualValues(t, want.Status, m.GetDiscoverResponse().GetStatus())
				require.Equal(t, want.StatusText, m.GetDiscoverResponse().GetStatusText())
				if want.Status != 0 {
					ours, err = appendFrame(nil, refusal(pb.Message_DISCOVER, refuse(Status(want.Status), want.StatusText)))
					require.NoError(t, err)
					break
				}
				var found []listing
				require.Len(t, m.GetDiscoverResponse().GetRegistrations(), len(want.Registrations))
				for i, got := range m.GetDiscoverResponse().GetRegistrations() {
					require.Equal(t, want.Registrations[i].Ns, got.GetNs())
					require.Equal(t, want.Registrations[i].TTL, got.GetTtl())
					_, rec, err := openRecord(got.GetSignedPeerRecord())
					require.NoError(t, err)
					require.Equal(t, want.Registrations[i].PeerID, rec.PeerID.String())
					left := time.Duration(got.GetTtl())*time.Second + grace
					found = append(found, listing{namespace: got.GetNs(), envelope: got.GetSignedPeerRecord(), left: left})
				}
				ours, _ = discoverFrame(t, found)
			}
			require.Equal(t, v.Frame, hex.EncodeToString(ours))
		})
	}
	require.Len(t, keys, 4, "all four key types")
}

// TestFrameOfMsgio checks the framing against libp2p's own.
func TestFrameOfMsgio(t *testing.T) {
	m := discoverRequest("a namespace", 7)
	frame, err := appendFrame(nil, m)
	require.NoError(t, err)

	body, err := msgio.NewVarintReader(bytes.NewReader(frame)).ReadMsg()
	require.NoError(t, err)
	theirs := new(pb.Message)
	require.NoError(t, proto.Unmarshal(body, theirs))
	require.True(t, proto.Equal(m, theirs))

	var buf bytes.Buffer
	require.NoError(t, msgio.NewVarintWriter(&buf).WriteMsg(body))
	require.Equal(t, frame, buf.Bytes())
}

func TestReadFrameRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x80", io.ErrUnexpectedEOF},
		{"half a message", "\x05abc", io.ErrUnexpectedEOF},
		{"a length and no message", "\x05", io.ErrUnexpectedEOF},
		{"one byte over the bound", "\x81\x80\x01", ErrProtocol},
		{"4 GiB", "\x80\x80\x80\x80\x10", ErrProtocol},
		{"a length over 63 bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrProtocol},
		{"a length that is not minimal", "\x81\x00a", ErrProtocol},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := readFrame(bufio.NewReader(strings.NewReader(test.in)), nil, maxRequestSize)
			require.ErrorIs(t, err, test.want)
		})
	}
}

// TestReadFrameGrowsWithWhatArrives: a length alone must not reserve memory.
func TestReadFrameGrowsWithWhatArrives(t *testing.T) {
	announced := []byte{0x80, 0x80, 0x80, 0x02} // 4 MiB
	r := bufio.NewReader(nil)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			r.Reset(bytes.NewReader(announced))
			if _, err := readFrame(r, nil, maxAnswerSize); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	require.Less(t, allocated, int64(16<<10))
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
	for left, want := range map[time.Duration]int64{
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

func TestStatedTTL(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		1: time.Second, 20: MaxTTL, 21: MaxTTL, 0: MaxTTL, -1: MaxTTL, math.MaxInt64: MaxTTL, math.MinInt64: MaxTTL,
	} {
		require.Equal(t, want, statedTTL(seconds, MaxTTL), "%d seconds", seconds)
	}
}

// TestDiscoverResponseFits: an answer is cut before it exceeds what a client reads,
// and not a record earlier.
func TestDiscoverResponseFits(t *testing.T) {
	found := make([]listing, MaxDiscoverLimit)
	for i := range found {
		found[i] = listing{
			namespace: strings.Repeat("n", MaxNamespaceSize),
			envelope:  bytes.Repeat([]byte{'e'}, maxEnvelopeSize),
			left:      MaxTTL + grace,
		}
	}
	frame, sent := discoverFrame(t, found)
	require.LessOrEqual(t, len(frame), maxAnswerSize)
	require.Greater(t, len(frame)+len(frame)/sent+1, maxAnswerSize)

	body, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), nil, maxAnswerSize)
	require.NoError(t, err)
	m, err := parseMessage(body)
	require.NoError(t, err)
	require.Len(t, m.GetDiscoverResponse().GetRegistrations(), sent)
}

// discoverFrame is the frame of an answer, and how many of those found it holds.
func discoverFrame(t testing.TB, found []listing) (frame []byte, sent int) {
	t.Helper()
	var out bytes.Buffer
	sent, err := writeDiscoverResponse(&out, nil, found)
	require.NoError(t, err)
	return out.Bytes(), sent
}

func TestStatusError(t *testing.T) {
	sentinels := []error{ErrInvalidNamespace, ErrInvalidPeerInfo, ErrInvalidTTL, ErrNotAuthorized, ErrInternal, ErrUnavailable}
	for i, status := range []Status{100, 101, 102, 200, 300, 400} {
		err := statusError(status, "why")
		for j, sentinel := range sentinels {
			require.Equal(t, i == j, errors.Is(err, sentinel), "%v is %v", err, sentinel)
		}
		var s *StatusError
		require.ErrorAs(t, err, &s)
		require.Equal(t, "why", s.Text)
	}
	require.NoError(t, statusError(pb.Message_OK, "fine"))
	require.EqualError(t, statusError(100, "why"), `invalid namespace: "why"`)
	require.ErrorContains(t, statusError(999, "new"), "999")
	long := statusError(400, strings.Repeat("é", 1<<20))
	require.Less(t, len(long.Error()), 1<<10)
	require.NotContains(t, long.Error(), `\x`, "cut between runes")
}

func TestOpenRecordNamesNoSecrets(t *testing.T) {
	_, _, err := openRecord([]byte("not an envelope"))
	require.ErrorIs(t, err, ErrInvalidPeerInfo)
	require.NotContains(t, answerTo(err).Text, "proto", "inner details stay inside")
}
