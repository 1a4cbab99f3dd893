package dbformat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// start is the time at which the tests write.
var start = time.Unix(1e9, 0)

// origin is what most of the tests write.
var origin = netip.MustParseAddr("2001:db8::1")

// valueOf returns the value of a registration that ends, and is fresh, until left from start.
func valueOf(key, envelope []byte, origin netip.Addr, left time.Duration) []byte {
	end := start.Add(left)
	return Value(key, &Registration{Envelope: envelope, Deadline: end, Fresh: end, Origin: origin}, start)
}

// TestFormat guards the bytes themselves: another build must read what this one wrote.
func TestFormat(t *testing.T) {
	key := Key("ns", "peer")
	require.Equal(t, "go-waku-rendezvous/3/r\x02nspeer", string(key))
	value := Value(key, &Registration{
		Envelope: []byte("envelope"), Deadline: start.Add(20 * time.Second), Fresh: start.Add(time.Second),
		Kind: 1, Origin: origin, Order: 0x1234, Sequence: 7,
	}, start)
	require.Equal(t, "0de0b6b84f7bc800"+ // 1,000,000,020 seconds since 1970
		"00000004a817c800"+ // 20 seconds
		"000000003b9aca00"+ // 1 second
		"0000000000001234"+"0000000000000007"+"01"+
		"20010db8000000000000000000000001"+
		hex.EncodeToString([]byte("envelope"))+
		"ea20ce00", hex.EncodeToString(value))
	require.Equal(t, "go-waku-rendezvous/3/o", OrderKey)
	require.Equal(t, "0000000000001234"+"0000000000010000"+
		"291be4b5", hex.EncodeToString(OrderValue(Order{0x1234, 0x10000})))
}

func TestKeysAreUnambiguous(t *testing.T) {
	keys := make(map[string]bool)
	names := []string{"", "a", "aa", "ab", "b", "\x00", "\x01", "\x01a", "\xff", strings.Repeat("a", 127), strings.Repeat("a", 128)}
	for _, namespace := range names {
		for _, p := range names {
			keys[string(Key(namespace, peer.ID(p)))] = true
		}
	}
	require.Len(t, keys, len(names)*len(names))
}

func TestParseOtherKeys(t *testing.T) {
	for name, key := range map[string]string{
		"empty":                     "",
		"another prefix":            OrderKey,
		"a later version":           "go-waku-rendezvous/4/r\x02nspeer",
		"an earlier version":        OldPrefix + "\x02nspeer",
		"no length":                 Prefix,
		"half a length":             Prefix + "\x80",
		"a length over the end":     Prefix + "\x07nspeer",
		"the largest length":        Prefix + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01nspeer",
		"a length over 64 bits":     Prefix + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02nspeer",
		"a length in too many bits": Prefix + "\x82\x00nspeer",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(key), valueOf([]byte(key), []byte("envelope"), origin, time.Hour), start)
			require.ErrorIs(t, err, errKey)
		})
	}
}

// TestParseDamage: an entry with any one bit wrong, or with its end missing, is refused.
func TestParseDamage(t *testing.T) {
	key := Key("ns", "peer")
	value := valueOf(key, []byte("envelope"), origin, 20*time.Second)
	refused := func(key, value []byte) {
		t.Helper()
		_, err := Parse(key, value, start)
		require.Error(t, err, "%q: %q", key, value)
	}
	for _, damage := range damages(value) {
		refused(key, damage)
	}
	for _, damage := range damages(key) {
		refused(damage, value)
	}
}

// damages returns b with each bit wrong, and each shorter beginning of it.
func damages(b []byte) (all [][]byte) {
	for i := range b {
		all = append(all, b[:i])
		for bit := range 8 {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1 << bit
			all = append(all, flipped)
		}
	}
	return all
}

func TestParseAtAnotherTime(t *testing.T) {
	tests := []struct {
		name       string
		left       time.Duration // when it is written
		after      time.Duration // on the wall clock, until it is read
		leftByThen time.Duration
	}{
		{"at once", 20 * time.Second, 0, 20 * time.Second},
		{"a little later", 20 * time.Second, 5 * time.Second, 15 * time.Second},
		{"at the deadline", 20 * time.Second, 20 * time.Second, 0},
		{"long after", 20 * time.Second, 1000 * time.Hour, 20*time.Second - 1000*time.Hour},
		{"the clock was set back", 20 * time.Second, -time.Hour, 20 * time.Second},
		{"it had ended", -time.Second, 0, 0},
		{"it had ended, the clock was set back", -time.Second, -time.Hour, 0},
		{"the shortest", math.MinInt64, 0, 0},
		{"half the longest", 1 << 62, 0, 1 << 62},
		{"the longest", math.MaxInt64, 0, math.MaxInt64 - time.Duration(start.UnixNano())},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			key, now := Key("ns", "peer"), start.Add(test.after)
			r, err := Parse(key, valueOf(key, []byte("envelope"), origin, test.left), now)
			require.NoError(t, err)
			end := now.Add(test.leftByThen)
			require.Equal(t, Registration{
				Namespace: "ns", Peer: "peer", Envelope: []byte("envelope"), Deadline: end, Fresh: end, Origin: origin,
			}, r)
		})
	}
}

// TestDeadlineIsCountedFromNow: the deadline keeps the monotonic reading of now, so a
// wall clock that is set after the entry was read changes nothing.
func TestDeadlineIsCountedFromNow(t *testing.T) {
	now := time.Now()
	key := Key("ns", "peer")
	r, err := Parse(key, Value(key, &Registration{Deadline: now.Add(time.Minute)}, now), now)
	require.NoError(t, err)
	require.Contains(t, r.Deadline.String(), " m=", "a monotonic reading")
}

func TestWallDeadline(t *testing.T) {
	require.Equal(t, start.UnixNano()+1, wallDeadline(start, 1))
	require.Equal(t, int64(math.MaxInt64), wallDeadline(start, math.MaxInt64))
	require.Equal(t, int64(math.MaxInt64-1), wallDeadline(time.Unix(0, -1), math.MaxInt64), "before 1970")
}

// TestFreshness: a registration is not fresh for longer than it was when it was written, and
// the time until the entry is read counts.
func TestFreshness(t *testing.T) {
	for _, test := range []struct{ lifetime, fresh, after, want time.Duration }{
		{time.Hour, 20 * time.Second, 0, 20 * time.Second},
		{time.Hour, 20 * time.Second, 5 * time.Second, 15 * time.Second},
		{time.Hour, 20 * time.Second, 21 * time.Second, -time.Second},
		{time.Hour, 20 * time.Second, -time.Hour, 20 * time.Second}, // the clock was set back
		{time.Hour, -time.Second, 0, 0},
		{time.Hour, 2 * time.Hour, 0, time.Hour},
	} {
		key, now := Key("ns", "peer"), start.Add(test.after)
		value := Value(key, &Registration{Deadline: start.Add(test.lifetime), Fresh: start.Add(test.fresh)}, start)
		r, err := Parse(key, value, now)
		require.NoError(t, err)
		require.Equal(t, test.want, r.Fresh.Sub(now), "%+v", test)
		require.Equal(t, min(test.lifetime, test.lifetime-test.after), r.Deadline.Sub(now), "%+v", test)
	}
}

func TestParseOrder(t *testing.T) {
	want := Order{Identity: 1<<64 - 1, Reserved: 1 << 40}
	value := OrderValue(want)
	got, err := ParseOrder(value)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, damage := range append(damages(value), append(value, 0)) {
		_, err := ParseOrder(damage)
		require.ErrorIs(t, err, errOrder, "%x", damage)
	}
	_, err = ParseOrder(OrderValue(Order{Identity: 1, Reserved: 1<<62 + 1}))
	require.ErrorIs(t, err, errOrder, "more than anybody registers")
}

// FuzzParse: what is read has the key that it was read from, and lives no longer than
// the lifetime that is written in it.
func FuzzParse(f *testing.F) {
	for _, r := range []Registration{
		{Namespace: "ns", Peer: "p", Envelope: []byte("envelope"), Deadline: start.Add(time.Second), Fresh: start, Origin: origin},
		{Namespace: strings.Repeat("n", 256), Deadline: start, Kind: 1, Order: 1, Sequence: 2},
		{Namespace: "\x00\xff", Peer: "\x00", Envelope: []byte{0}, Deadline: start.Add(1 << 62), Origin: netip.MustParseAddr("192.0.2.1")},
	} {
		key := Key(r.Namespace, r.Peer)
		f.Add(key, Value(key, &r, start))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		sealed := binary.BigEndian.AppendUint32(bytes.Clone(value), checksum(key, value))
		for _, v := range [][]byte{value, sealed} { // the latter has a checksum that holds
			r, err := Parse(key, v, start)
			if err != nil {
				continue
			}
			lifetime := time.Duration(binary.BigEndian.Uint64(v[8:]))
			require.LessOrEqual(t, r.Deadline.Sub(start), max(lifetime, 0))
			require.False(t, r.Fresh.After(r.Deadline))
			require.Equal(t, key, Key(r.Namespace, r.Peer))
			require.Len(t, r.Envelope, len(v)-headerSize-checksumSize)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("ns", "peer", []byte("envelope"), []byte{192, 0, 2, 1}, int64(20*time.Second), int64(time.Second), uint64(0))
	f.Add("", "", []byte(nil), []byte(nil), int64(1)<<62, int64(1)<<62, uint64(1))
	f.Add("n", "", []byte(nil), make([]byte, 16), int64(1), int64(-1), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, namespace, p string, envelope, address []byte, left, fresh int64, sequence uint64) {
		origin, _ := netip.AddrFromSlice(address)
		key := Key(namespace, peer.ID(p))
		sequence &= maxSequence - 1
		r, err := Parse(key, Value(key, &Registration{
			Envelope: envelope, Deadline: start.Add(time.Duration(left)), Fresh: start.Add(time.Duration(fresh)),
			Kind: uint8(sequence), Origin: origin, Order: ^sequence, Sequence: sequence,
		}, start), start)
		require.NoError(t, err)
		require.Equal(t, namespace, r.Namespace)
		require.Equal(t, p, string(r.Peer))
		require.True(t, bytes.Equal(envelope, r.Envelope))
		if want := origin.Unmap(); origin != netip.IPv6Unspecified() {
			require.Equal(t, want, r.Origin)
		}
		latest := math.MaxInt64 - time.Duration(start.UnixNano())
		require.Equal(t, min(max(time.Duration(left), 0), latest), r.Deadline.Sub(start))
		require.Equal(t, []uint64{^sequence, sequence, sequence & 0xff}, []uint64{r.Order, r.Sequence, uint64(r.Kind)})
		if left := time.Duration(left); left <= latest {
			require.Equal(t, max(min(time.Duration(fresh), left), 0), r.Fresh.Sub(start))
		}
	})
}
