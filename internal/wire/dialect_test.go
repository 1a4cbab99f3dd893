package wire

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// shuffled is nobody's protocol: each of its numbers means something else in the others.
// Nothing in this package may be tied to the numbers of one protocol.
var shuffled = &Dialect{
	ID:           "/shuffled",
	MaxRequest:   16 << 10,
	MaxAnswer:    64 << 10,
	MaxNamespace: 100,
	numbers: numbers{
		typ: 15,
		parts: [kinds]part{
			Register:         {typ: 9, field: 14},
			RegisterResponse: {typ: 8, field: 13},
			Unregister:       {typ: 7, field: 12},
			Discover:         {typ: 6, field: 11},
			DiscoverResponse: {typ: 5, field: 10},
		},
		register:       registrationNumbers{namespace: 15, envelope: 14, ttl: 13},
		registerAnswer: registerAnswerNumbers{statusNumbers: statusNumbers{status: 7, text: 6}, ttl: 5},
		unregister:     unregisterNumbers{namespace: 4},
		discover:       queryNumbers{namespace: 9, limit: 8, cookie: 7},
		discoverAnswer: discoverAnswerNumbers{registrations: 12, cookie: 11, statusNumbers: statusNumbers{status: 10, text: 9}},
	},
}

var dialects = []*Dialect{Waku, Standard, shuffled}

// TestTables: numbers are those of one-byte tags and no two are the same. A protocol
// has all that it needs, and whole messages.
func TestTables(t *testing.T) {
	for _, d := range dialects {
		t.Run(string(d.ID), func(t *testing.T) {
			require.NotEmpty(t, d.ID)
			require.Positive(t, d.MaxRequest)
			require.Positive(t, d.MaxAnswer)
			require.Positive(t, d.MaxNamespace)

			types := make(map[uint8]Kind)
			parts := []number{d.typ}
			for k := range Kind(kinds) {
				p := d.parts[k]
				require.Equal(t, k == Unregister && d == Waku || k == Unknown, p == part{}, "%s", k)
				if p == (part{}) {
					continue
				}
				require.NotZero(t, p.field, "%s has a type only", k)
				require.Less(t, p.typ, uint8(128), "%s", k)
				require.NotContains(t, types, p.typ, "%s", k)
				types[p.typ] = k
				require.Equal(t, k, d.kind(uint64(p.typ)))
				parts = append(parts, p.field)
			}
			checkNumbers(t, parts, nil)
			r, a, q, f := d.register, d.registerAnswer, d.discover, d.discoverAnswer
			checkNumbers(t, []number{r.namespace, r.envelope, r.ttl}, nil)
			checkNumbers(t, []number{a.status, a.text, a.ttl}, nil)
			checkNumbers(t, []number{q.namespace, q.limit}, []number{q.cookie})
			checkNumbers(t, []number{f.registrations, f.status, f.text}, []number{f.cookie})
			require.Equal(t, q.cookie == 0, f.cookie == 0, "cookies go both ways")
			require.Equal(t, d.parts[Unregister].field == 0, d.unregister.namespace == 0)
			require.LessOrEqual(t, d.unregister.namespace, number(15))
		})
	}
}

// checkNumbers checks the numbers of a message's fields, of which some may be missing.
func checkNumbers(t *testing.T, needed, optional []number) {
	t.Helper()
	require.NotContains(t, needed, number(0))
	seen := map[number]bool{}
	for _, n := range append(needed, optional...) {
		require.LessOrEqual(t, n, number(15))
		require.False(t, seen[n], "%d is there twice", n)
		seen[n] = n != 0
	}
}

// TestWakuIsGenerated: the table has the numbers of the generated code.
func TestWakuIsGenerated(t *testing.T) {
	fields := (&pb.Message{}).ProtoReflect().Descriptor().Fields()
	parts := map[string]Kind{"register": Register, "registerResponse": RegisterResponse, "discover": Discover, "discoverResponse": DiscoverResponse}
	require.Equal(t, len(parts)+1, fields.Len())
	for name, k := range parts {
		require.EqualValues(t, fields.ByTextName(name).Number(), Waku.parts[k].field, name)
		require.EqualValues(t, pb.Message_MessageType_value[k.String()], Waku.parts[k].typ, name)
	}
}

func TestKind(t *testing.T) {
	require.Equal(t, "UNKNOWN", Unknown.String())
	require.Equal(t, "REGISTER", Register.String())
	require.Equal(t, "DISCOVER_RESPONSE", DiscoverResponse.String())
	require.Equal(t, "UNKNOWN", Kind(kinds).String())
	require.Equal(t, "UNKNOWN", Kind(255).String())

	require.Equal(t, Register, Waku.kind(0))
	require.Equal(t, Discover, Waku.kind(2))
	require.Equal(t, Unknown, Waku.kind(4))
	require.Equal(t, Register, Waku.kind(1<<32), "an enumeration has 32 bits")
	require.Equal(t, Unknown, Waku.kind(1<<31))
	require.Equal(t, Unknown, Waku.kind(1<<8))
	require.Equal(t, Unregister, Standard.kind(2))
	require.Equal(t, Unknown, shuffled.kind(0))
}
