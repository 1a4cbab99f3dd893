package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"
)

// vector is a frame made by another implementation, and what it says.
type vector struct {
	Name     string  `json:"name"`
	Protocol string  `json:"protocol"`
	Frame    string  `json:"frame_hex"`
	Decoded  decoded `json:"decoded"`
	// InOtherProtocol is what the same bytes say on a stream of another protocol.
	InOtherProtocol *vector `json:"in_other_protocol"`
}

type decoded struct {
	Type   any    `json:"type"` // a name, or a number that has none
	Status int32  `json:"status"`
	Text   string `json:"status_text"`
	Limit  uint64 `json:"limit"`
	Cookie string `json:"cookie_hex"`
	registration
	Registrations []registration `json:"registrations"`
	// OnWire is which fields are there; nil if that is not told.
	OnWire []string `json:"on_wire"`
}

type registration struct {
	Ns       string `json:"ns"`
	TTL      uint64 `json:"ttl"`
	Record   string `json:"signed_peer_record_hex"`
	PeerInfo string `json:"peer_info_hex"` // in place of a record
}

func (v *vector) dialect(t testing.TB) *Dialect {
	t.Helper()
	if v.Protocol == "" {
		return Waku
	}
	i := slices.IndexFunc(dialects, func(d *Dialect) bool { return string(d.ID) == v.Protocol })
	require.GreaterOrEqual(t, i, 0, "unknown protocol %q", v.Protocol)
	return dialects[i]
}

func (v *vector) isAnswer() bool {
	name, _ := v.Decoded.Type.(string)
	return strings.HasSuffix(name, "_RESPONSE")
}

// message returns what is in the vector's frame.
func (v *vector) message(t testing.TB) []byte {
	t.Helper()
	r := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(unhex(t, v.Frame))))
	body, err := ReadFrame(r, nil, v.dialect(t).MaxAnswer)
	require.NoError(t, err)
	_, err = ReadFrame(r, nil, v.dialect(t).MaxAnswer)
	require.Equal(t, io.EOF, err)
	return body
}

func readVectors(t testing.TB) (all []vector) {
	t.Helper()
	for _, file := range []string{"wire", "original", "standard"} {
		text, err := os.ReadFile("testdata/vectors/" + file + ".json")
		require.NoError(t, err)
		var vectors []vector
		require.NoError(t, json.Unmarshal(text, &vectors))
		require.NotEmpty(t, vectors)
		all = append(all, vectors...)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestVectors parses the frames of other implementations. Where those write the fields
// that this one writes, it must make the same frames of the same messages.
func TestVectors(t *testing.T) {
	same := make(map[protocol.ID]int)
	for _, v := range readVectors(t) {
		t.Run(v.Protocol+" "+v.Name, func(t *testing.T) {
			d := v.dialect(t)
			var frame []byte
			var fields []string
			if v.isAnswer() {
				frame, fields = checkAnswer(t, d, v.Decoded, v.message(t))
			} else {
				frame, fields = checkRequest(t, d, v.Decoded, v.message(t))
			}
			if v.Decoded.OnWire == nil || slices.Equal(v.Decoded.OnWire, fields) {
				require.Equal(t, v.Frame, hex.EncodeToString(frame))
				same[d.ID]++
			}
			if other := v.InOtherProtocol; other != nil {
				_, _ = checkRequest(t, other.dialect(t), other.Decoded, v.message(t))
			}
		})
	}
	require.Equal(t, map[protocol.ID]int{Waku.ID: 48, Standard.ID: 54}, same, "frames that this package writes as well")
}

// checkRequest checks that a message is parsed as what it says. It returns the frame
// that this package writes for it, and which fields are in that.
func checkRequest(t *testing.T, d *Dialect, want decoded, message []byte) (frame []byte, onWire []string) {
	t.Helper()
	var r Request
	require.NoError(t, d.ParseRequest(&r, message))
	frame = d.AppendRequest(nil, &r)
	var w written
	w.add("type", d.writeZeros || r.Kind != Register)
	if _, named := want.Type.(string); !named {
		require.Equal(t, Unknown, r.Kind)
		require.Empty(t, frame)
		return frame, nil
	}
	require.Equal(t, want.Type, r.Kind.String())
	switch r.Kind {
	case Register:
		checkRegistration(t, d, want.registration, r.Register)
		w.part("register")
		w.add("ns", want.Ns != "")
		w.add("signedPeerRecord", len(r.Register.Envelope) > 0)
		w.add("ttl", want.TTL != 0)
	case Unregister:
		require.Equal(t, want.Ns, string(r.Unregister))
		w.part("unregister")
		w.add("ns", want.Ns != "")
	case Discover:
		require.Equal(t, want.Ns, string(r.Discover.Namespace))
		require.Equal(t, d.integer(want.Limit), r.Discover.Limit)
		require.Equal(t, want.Cookie, hex.EncodeToString(r.Discover.Cookie))
		w.part("discover")
		w.add("ns", want.Ns != "")
		w.add("limit", want.Limit != 0)
		w.add("cookie", want.Cookie != "")
	default:
		require.Fail(t, "not a request")
	}
	if want.Limit > 1<<62 || want.TTL > 1<<62 {
		return frame, nil // numbers that come out smaller
	}
	return frame, w.fields
}

func checkRegistration(t *testing.T, d *Dialect, want registration, got Registration) {
	t.Helper()
	require.Equal(t, want.Ns, string(got.Namespace))
	require.Equal(t, d.integer(want.TTL), got.TTL)
	if record := want.Record + want.PeerInfo; record != "" {
		require.Equal(t, record, hex.EncodeToString(got.Envelope))
	}
}

// checkAnswer is checkRequest for answers.
func checkAnswer(t *testing.T, d *Dialect, want decoded, message []byte) (frame []byte, onWire []string) {
	t.Helper()
	var r Request
	require.NoError(t, d.ParseRequest(&r, message), "an answer in a request's place")
	require.Equal(t, want.Type, r.Kind.String())
	require.Empty(t, d.AppendRequest(nil, &r))

	var a Answer
	require.NoError(t, d.ParseAnswer(&a, message, 1000))
	require.Equal(t, want.Type, a.Kind.String())
	var w written
	w.add("type", true)
	if a.Kind == DiscoverResponse {
		require.Zero(t, a.Register)
		return checkDiscoverAnswer(t, d, want, &a.Discover, w)
	}
	require.Zero(t, a.Discover)
	require.Equal(t, RegisterAnswer{Present: true, Status: want.Status, Text: want.Text, TTL: int64(want.TTL)}, a.Register)
	w.part("registerResponse")
	w.add("status", want.Status != 0 || d.writeZeros)
	if want.Status == 0 {
		w.add("ttl", true)
		return d.AppendRegistered(nil, a.Register.TTL), w.fields
	}
	w.add("statusText", want.Text != "")
	return d.AppendRefusal(nil, Register, want.Status, want.Text), w.fields
}

func checkDiscoverAnswer(t *testing.T, d *Dialect, want decoded, got *DiscoverAnswer, w written) (frame []byte, onWire []string) {
	t.Helper()
	require.True(t, got.Present)
	require.Equal(t, want.Status, got.Status)
	require.Equal(t, want.Text, got.Text)
	require.Equal(t, want.Cookie, hex.EncodeToString(got.Cookie))
	require.Len(t, got.Registrations, len(want.Registrations))
	w.part("discoverResponse")
	if want.Status != 0 {
		w.add("status", true)
		w.add("statusText", want.Text != "")
		return d.AppendRefusal(nil, Discover, want.Status, want.Text), w.fields
	}
	var found []Found
	for i, r := range got.Registrations {
		checkRegistration(t, d, want.Registrations[i], r)
		found = append(found, Found{Namespace: string(r.Namespace), Envelope: r.Envelope, TTL: int32(r.TTL)})
	}
	w.add("registrations", len(found) > 0)
	w.add("cookie", want.Cookie != "")
	w.add("status", d.writeZeros)
	var out bytes.Buffer
	sent, err := d.WriteFound(&out, nil, found, got.Cookie)
	require.NoError(t, err)
	require.Equal(t, len(found), sent)
	return out.Bytes(), w.fields
}

// written is which fields this package writes, named as the vectors name them.
type written struct {
	fields []string
	prefix string
}

func (w *written) part(name string) {
	w.fields = append(w.fields, name)
	w.prefix = name + "."
}

func (w *written) add(name string, is bool) {
	if is {
		w.fields = append(w.fields, w.prefix+name)
	}
}
