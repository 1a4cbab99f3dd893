package wire

import (
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// FuzzParseAnswer: answers are parsed as the protobuf library parses them, except that
// groups are refused.
func FuzzParseAnswer(f *testing.F) {
	addMessages(f)
	f.Fuzz(func(t *testing.T, message []byte, of byte) {
		d := dialects[int(of)%len(dialects)]
		m := newMessage(t, d)
		wantErr := decode(m, message, inAnswer)
		a := Answer{ // as the last one left it
			Kind:     RegisterResponse,
			Register: RegisterAnswer{Present: true, Text: "last"},
			Discover: DiscoverAnswer{Present: true, Cookie: []byte("last"), Registrations: make([]Registration, 2, 3)},
		}
		err := d.ParseAnswer(&a, message, len(message))
		if wantErr != nil {
			require.ErrorIs(t, err, ErrProtocol, "%v", wantErr)
			return
		}
		require.NoError(t, err)
		require.Equal(t, getKind(m), a.Kind)

		register := get(m, "registerResponse").Message()
		require.Equal(t, RegisterAnswer{
			Present: register.IsValid(),
			Status:  int32(get(register, "status").Enum()),
			Text:    get(register, "statusText").String(),
			TTL:     getInteger(d, register, "ttl"),
		}, a.Register)

		discover := get(m, "discoverResponse").Message()
		require.Equal(t, discover.IsValid(), a.Discover.Present)
		require.EqualValues(t, get(discover, "status").Enum(), a.Discover.Status)
		require.Equal(t, get(discover, "statusText").String(), a.Discover.Text)
		require.Equal(t, string(getBytes(discover, "cookie")), string(a.Discover.Cookie))
		checkRegistrations(t, d, get(discover, "registrations").List(), a.Discover.Registrations)

		limit := len(a.Discover.Registrations) / 2
		var fewer Answer
		require.NoError(t, d.ParseAnswer(&fewer, message, limit))
		require.Len(t, fewer.Discover.Registrations, limit)
		for i, r := range fewer.Discover.Registrations {
			requireRegistration(t, a.Discover.Registrations[i], r)
		}
	})
}

func checkRegistrations(t *testing.T, d *Dialect, want protoreflect.List, got []Registration) {
	t.Helper()
	require.Len(t, got, want.Len())
	for i := range got {
		requireRegistration(t, wantRegistration(d, want.Get(i).Message()), got[i])
	}
}

// TestParseAnswerChecksAll: registrations over the limit are read all the same.
func TestParseAnswerChecksAll(t *testing.T) {
	const good, bad = "\x0a\x03\x0a\x01n", "\x0a\x03\x0a\x01\xff"
	message := "\x08\x03\x2a\x0f" + good + good + bad
	var a Answer
	require.ErrorIs(t, Waku.ParseAnswer(&a, []byte(message), 1), ErrProtocol)
	message = "\x08\x03\x2a\x0f" + good + good + good
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 4: 3} {
		require.NoError(t, Waku.ParseAnswer(&a, []byte(message), limit))
		require.Len(t, a.Discover.Registrations, want)
	}
}

func TestAppendRegistered(t *testing.T) {
	for _, d := range dialects {
		t.Run(string(d.ID), func(t *testing.T) {
			for _, ttl := range []int64{0, 1, 20, 127, 128, 259200, math.MaxInt64} {
				message := cutFrame(t, d.AppendRegistered(nil, ttl))
				var a Answer
				require.NoError(t, d.ParseAnswer(&a, message, 0))
				require.Equal(t, Answer{Kind: RegisterResponse, Register: RegisterAnswer{Present: true, TTL: ttl}}, a)
			}
		})
	}
	generated, err := proto.Marshal(&pb.Message{
		Type: pb.Message_REGISTER_RESPONSE, RegisterResponse: &pb.Message_RegisterResponse{Ttl: 20},
	})
	require.NoError(t, err)
	require.Equal(t, generated, cutFrame(t, Waku.AppendRegistered(nil, 20)))
}

// FuzzAppendRefusal: refusals are as the generated code writes them, and can be parsed.
func FuzzAppendRefusal(f *testing.F) {
	f.Add(int32(100), "namespace is missing")
	f.Add(int32(0), "")
	f.Add(int32(-1), "no status")
	f.Add(int32(400), "not \xff UTF-8 \xed\xa0\x80")
	f.Fuzz(func(t *testing.T, status int32, text string) {
		for _, d := range dialects {
			for _, k := range []Kind{Unknown, RegisterResponse, Unregister, DiscoverResponse, kinds} {
				require.Empty(t, d.AppendRefusal(nil, k, status, text), "%s has no answer", k)
			}
			var a Answer
			require.NoError(t, d.ParseAnswer(&a, cutFrame(t, d.AppendRefusal(nil, Register, status, text)), 0))
			got := a.Register
			require.Equal(t, Answer{Kind: RegisterResponse, Register: RegisterAnswer{Present: true, Status: status, Text: got.Text}}, a)
			require.Equal(t, utf8.ValidString(text), got.Text == text)

			require.NoError(t, d.ParseAnswer(&a, cutFrame(t, d.AppendRefusal(nil, Discover, status, text)), 0))
			require.Equal(t, Answer{Kind: DiscoverResponse, Discover: DiscoverAnswer{Present: true, Status: status, Text: got.Text}}, a)
		}
		checkGeneratedRefusals(t, status, text)
	})
}

func checkGeneratedRefusals(t *testing.T, status int32, text string) {
	t.Helper()
	for k, m := range map[Kind]*pb.Message{
		Register: {
			Type:             pb.Message_REGISTER_RESPONSE,
			RegisterResponse: &pb.Message_RegisterResponse{Status: pb.Message_ResponseStatus(status), StatusText: text},
		},
		Discover: {
			Type:             pb.Message_DISCOVER_RESPONSE,
			DiscoverResponse: &pb.Message_DiscoverResponse{Status: pb.Message_ResponseStatus(status), StatusText: text},
		},
	} {
		if generated, err := proto.Marshal(m); err == nil { // it writes nothing that is not UTF-8
			require.Equal(t, generated, cutFrame(t, Waku.AppendRefusal(nil, k, status, text)))
		}
	}
}
