package wire

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// addMessages adds the messages of the vectors, and some that are wrong, as seeds for
// the dialect of each index.
func addMessages(f *testing.F) {
	f.Helper()
	for _, v := range readVectors(f) {
		message := v.message(f)
		for i := range dialects {
			f.Add(message, byte(i))
			f.Add(slices.Concat(message, message), byte(i)) // one message, merged
		}
	}
	for _, m := range []string{
		"",
		"\x12\x03\x0a\x01\xff",              // a namespace that is no text
		"\x0d\x01\x02\x03\x04\x9a\x06\x01a", // a type of another type, an unknown field
		"\x13\x0a\x01n\x14",                 // a group
		"\x12\x04\x1b\x08\x01\x1c",          // a group in a REGISTER
		"\x2a\x06\x0a\x04\x1b\x08\x01\x1c",  // a group in a registration of an answer
		"\x14",                              // the end of a group
		"\x0e", "\x0f",                      // reserved wire types
		"\x08\x80\x80\x80\x80\x10",                             // a type of 2^32
		"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",         // a type of -1
		"\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // a TTL of -1
		"\x00", "\x80", "\x12\x05a", // broken
		"\x80\x80\x80\x80\x10\x01", // the field 2^29, over the largest number
		"\xf8\xff\xff\xff\x0f\x01", // the largest number
		"\x88\x00\x02",             // a tag that is not minimal
	} {
		for i := range dialects {
			f.Add([]byte(m), byte(i))
		}
	}
}

// FuzzParseRequest: requests are parsed as the protobuf library parses them, except that
// groups are refused. What was parsed is written as the library writes it.
func FuzzParseRequest(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, message []byte, of byte) {
		d := dialects[int(of)%len(dialects)]
		m := newMessage(t, d)
		wantErr := decode(m, message, inRequest)
		r := Request{Kind: DiscoverResponse, Unregister: []byte("of the last request")}
		err := d.ParseRequest(&r, message)
		if wantErr != nil {
			require.ErrorIs(t, err, ErrProtocol, "%v", wantErr)
			return
		}
		require.NoError(t, err)
		register, discover, unregister := get(m, "register"), get(m, "discover"), get(m, "unregister")
		require.Equal(t, getKind(m), r.Kind)
		requireRegistration(t, wantRegistration(d, register.Message()), r.Register)
		require.Equal(t, get(discover.Message(), "ns").String(), string(r.Discover.Namespace))
		require.Equal(t, getInteger(d, discover.Message(), "limit"), r.Discover.Limit)
		require.True(t, bytes.Equal(getBytes(discover.Message(), "cookie"), r.Discover.Cookie))
		if d.has(Unregister) {
			require.Equal(t, get(unregister.Message(), "ns").String(), string(r.Unregister))
		} else {
			require.Nil(t, r.Unregister)
		}
		checkAppendRequest(t, d, &r)
	})
}

func requireRegistration(t *testing.T, want, got Registration) {
	t.Helper()
	require.Equal(t, string(want.Namespace), string(got.Namespace))
	require.Equal(t, string(want.Envelope), string(got.Envelope))
	require.Equal(t, want.TTL, got.TTL)
}

// checkAppendRequest checks the frame of a request.
func checkAppendRequest(t *testing.T, d *Dialect, r *Request) {
	t.Helper()
	const before = "before"
	frame, ok := bytes.CutPrefix(d.AppendRequest([]byte(before), r), []byte(before))
	require.True(t, ok)
	if !d.has(r.Kind) || r.Kind == RegisterResponse || r.Kind == DiscoverResponse {
		require.Empty(t, frame)
		return
	}
	message := cutFrame(t, frame)
	if d == Waku {
		require.Equal(t, generatedRequest(t, r), message)
	}
	var again Request
	require.NoError(t, d.ParseRequest(&again, message))
	require.Equal(t, r.Kind, again.Kind)
	switch r.Kind {
	case Register:
		requireRegistration(t, r.Register, again.Register)
	case Unregister:
		require.Equal(t, string(r.Unregister), string(again.Unregister))
	default:
		require.Equal(t, string(r.Discover.Namespace), string(again.Discover.Namespace))
		require.Equal(t, string(r.Discover.Cookie), string(again.Discover.Cookie))
		require.Equal(t, r.Discover.Limit, again.Discover.Limit)
	}
}

// cutFrame returns the message in a frame.
func cutFrame(t testing.TB, frame []byte) []byte {
	t.Helper()
	message, n := protowire.ConsumeBytes(frame)
	require.Equal(t, len(frame), n)
	require.Equal(t, len(frame), FrameSize(len(message)))
	return message
}

// generatedRequest is a request as the generated code writes it.
func generatedRequest(t testing.TB, r *Request) []byte {
	t.Helper()
	m := &pb.Message{Type: pb.Message_MessageType(pb.Message_MessageType_value[r.Kind.String()])}
	if r.Kind == Register {
		m.Register = &pb.Message_Register{Ns: string(r.Register.Namespace), SignedPeerRecord: r.Register.Envelope, Ttl: r.Register.TTL}
	} else {
		m.Discover = &pb.Message_Discover{Ns: string(r.Discover.Namespace), Limit: r.Discover.Limit}
	}
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

func TestAppendRequest(t *testing.T) {
	for _, d := range dialects {
		t.Run(string(d.ID), func(t *testing.T) {
			for _, ttl := range []int64{0, 1, 20, 127, 128, math.MaxInt64} {
				for _, name := range []string{"", "n", string(bytes.Repeat([]byte{'n'}, 300))} {
					checkAppendRequest(t, d, &Request{Kind: Register, Register: Registration{[]byte(name), []byte(name), ttl}})
					checkAppendRequest(t, d, &Request{Kind: Unregister, Unregister: []byte(name)})
					query := Query{Namespace: []byte(name), Limit: ttl}
					if d.discover.cookie != 0 {
						query.Cookie = []byte(name)
					}
					checkAppendRequest(t, d, &Request{Kind: Discover, Discover: query})
				}
			}
			for _, k := range []Kind{Unknown, RegisterResponse, DiscoverResponse, kinds, 255} {
				require.Empty(t, d.AppendRequest(nil, &Request{Kind: k}), "%s", k)
			}
		})
	}
	require.Empty(t, Waku.AppendRequest(nil, &Request{Kind: Unregister}), "there is none")
	withCookie := Waku.AppendRequest(nil, &Request{Kind: Discover, Discover: Query{Cookie: []byte("cookie")}})
	require.Equal(t, Waku.AppendRequest(nil, &Request{Kind: Discover}), withCookie, "there is none")
}

// TestLargeNumbers: what does not fit into an int64 is not negative.
func TestLargeNumbers(t *testing.T) {
	for _, v := range []uint64{1 << 63, math.MaxUint64} {
		register := Standard.appendHeader(nil, Register, sizeVarint(v))
		register = appendVarint(register, Standard.register.ttl, v)
		var r Request
		require.NoError(t, Standard.ParseRequest(&r, cutFrame(t, register)))
		require.Equal(t, int64(math.MaxInt64), r.Register.TTL)
		require.NoError(t, Waku.ParseRequest(&r, cutFrame(t, register)))
		require.Negative(t, r.Register.TTL)
	}
}
