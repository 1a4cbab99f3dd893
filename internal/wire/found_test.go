package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// cookieOf returns a cookie for a protocol that has any.
func cookieOf(d *Dialect) []byte {
	if d.discoverAnswer.cookie == 0 {
		return nil
	}
	return bytes.Repeat([]byte{'c'}, 8+255)
}

// checkFound writes an answer and checks that it can be parsed, and that it is what the
// generated code makes of it.
func checkFound(t *testing.T, d *Dialect, buf []byte, found []Found, cookie []byte) (frame []byte, sent int) {
	t.Helper()
	var out bytes.Buffer
	sent, err := d.WriteFound(&out, buf, found, cookie)
	require.NoError(t, err)
	frame = out.Bytes()
	require.LessOrEqual(t, len(frame), d.MaxAnswer)

	message, err := ReadFrame(bufio.NewReader(&out), nil, d.MaxAnswer)
	require.NoError(t, err)
	require.Empty(t, out.Bytes())
	var a Answer
	require.NoError(t, d.ParseAnswer(&a, message, len(found)))
	require.Equal(t, DiscoverResponse, a.Kind)
	require.True(t, a.Discover.Present)
	require.Zero(t, a.Discover.Status)
	require.Empty(t, a.Discover.Text)
	require.Len(t, a.Discover.Registrations, sent)
	if d.discoverAnswer.cookie != 0 {
		require.Equal(t, string(cookie), string(a.Discover.Cookie))
	}
	generated := new(pb.Message_DiscoverResponse)
	for i, got := range a.Discover.Registrations {
		want := found[i]
		if string(got.Namespace) != want.Namespace || !bytes.Equal(got.Envelope, want.Envelope) || got.TTL != int64(want.TTL) {
			require.Fail(t, "another registration", "%d: %+v is %+v", i, want, got)
		}
		generated.Registrations = append(generated.Registrations,
			&pb.Message_Register{Ns: want.Namespace, SignedPeerRecord: want.Envelope, Ttl: int64(want.TTL)})
	}
	if d == Waku && !hasZeros(found) {
		b, err := proto.Marshal(&pb.Message{Type: pb.Message_DISCOVER_RESPONSE, DiscoverResponse: generated})
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, message), "the generated code writes it in the same way")
	}
	return frame, sent
}

// hasZeros reports whether there is something in found that the generated code leaves
// out, and this package writes.
func hasZeros(found []Found) bool {
	for _, f := range found {
		if f.Namespace == "" || len(f.Envelope) == 0 || f.TTL == 0 {
			return true
		}
	}
	return false
}

// FuzzWriteFound: whatever is found, and whatever buffer it is written through, the
// frame is the same, and can be parsed.
func FuzzWriteFound(f *testing.F) {
	f.Add("n", []byte("envelope"), int32(20), byte(3), uint16(100), []byte(nil))
	f.Add("", []byte{}, int32(0), byte(0), uint16(0), []byte("cookie"))
	f.Add(strings.Repeat("n", 256), make([]byte, 8<<10), int32(1), byte(31), uint16(1<<14), make([]byte, 300))
	f.Add("n", make([]byte, 127), int32(math.MaxInt32), byte(20), uint16(150), []byte{0})
	f.Fuzz(func(t *testing.T, namespace string, envelope []byte, ttl int32, count byte, size uint16, cookie []byte) {
		namespace, ttl = strings.ToValidUTF8(namespace, ""), max(ttl, 0)
		found := make([]Found, count%32)
		for i := range found {
			cut := min(i, len(namespace), len(envelope))
			found[i] = Found{Namespace: strings.ToValidUTF8(namespace[cut:], ""), Envelope: envelope[cut:], TTL: max(ttl-int32(i), 0)}
		}
		if len(cookie) > 1<<10 || len(namespace)+len(envelope) > 1<<14 {
			return
		}
		for _, d := range dialects {
			unbuffered, sent := checkFound(t, d, nil, found, cookie)
			frame, again := checkFound(t, d, make([]byte, 0, size), found, cookie)
			require.Equal(t, sent, again)
			require.True(t, bytes.Equal(unbuffered, frame))
		}
	})
}

// TestAnswerFits: an answer is cut before it is larger than what a client reads, and not
// a registration earlier.
func TestAnswerFits(t *testing.T) {
	for _, d := range dialects {
		t.Run(string(d.ID), func(t *testing.T) {
			for _, size := range []int{100, 127, 128, 4000, 8 << 10} {
				found := make([]Found, 5+d.MaxAnswer/size)
				for i := range found {
					found[i] = Found{Namespace: strings.Repeat("n", 1+size/32), Envelope: make([]byte, size), TTL: 20}
				}
				frame, sent := checkFound(t, d, make([]byte, 0, 64<<10), found, cookieOf(d))
				require.Less(t, sent, len(found), "too few to fill an answer")
				entry := sizeBytes(int(found[0].size))
				require.Greater(t, len(frame)+entry, d.MaxAnswer)
				full, all := checkFound(t, d, nil, found[:sent], cookieOf(d))
				require.Equal(t, sent, all)
				require.True(t, bytes.Equal(frame, full))
			}
		})
	}
}

// writes counts what is written, and fails at a write.
type writes struct {
	sizes  []int
	failAt int
}

var errGone = errors.New("peer is gone")

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	if len(w.sizes) == w.failAt {
		return 0, errGone
	}
	return len(b), nil
}

// TestWriteFoundByBuffers: an answer is written a buffer at a time, and no more of it
// after an error.
func TestWriteFoundByBuffers(t *testing.T) {
	for _, d := range dialects {
		for count := range 40 { // so that each part of an answer is once the first in a buffer
			t.Run(fmt.Sprint(d.ID, count), func(t *testing.T) {
				found := make([]Found, count)
				for i := range found {
					found[i] = Found{Namespace: "n", Envelope: make([]byte, 200+i), TTL: 20}
				}
				checkWrites(t, d, make([]byte, 0, 1<<10), found)
			})
		}
	}
}

func checkWrites(t *testing.T, d *Dialect, buf []byte, found []Found) {
	t.Helper()
	var all writes
	sent, err := d.WriteFound(&all, buf, found, cookieOf(d))
	require.NoError(t, err)
	require.Equal(t, len(found), sent)
	for i, size := range all.sizes {
		require.LessOrEqual(t, size, cap(buf))
		if i < len(all.sizes)-1 {
			require.Greater(t, size, cap(buf)-300, "a buffer is filled before it is written")
		}
	}
	for i := range all.sizes {
		failing := writes{failAt: i + 1}
		sent, err := d.WriteFound(&failing, buf, found, cookieOf(d))
		require.ErrorIs(t, err, errGone)
		require.Zero(t, sent)
		require.Equal(t, all.sizes[:i+1], failing.sizes)
	}
}
