package wire

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// TestAllocations: messages are read and written without allocating.
func TestAllocations(t *testing.T) {
	message, register := registerMessage(t)
	samples := newSamples(50, 1)
	answer := answerTo(t, samples[0])
	buf := make([]byte, 0, 64<<10)
	var r Request
	var a Answer
	require.NoError(t, Waku.ParseAnswer(&a, answer, 50))
	for name, f := range map[string]func(){
		"ParseRequest":     func() { _ = Waku.ParseRequest(&r, message) },
		"AppendRequest":    func() { buf = Waku.AppendRequest(buf[:0], &register) },
		"ParseAnswer":      func() { _ = Waku.ParseAnswer(&a, answer, 50) },
		"AppendRegistered": func() { buf = Waku.AppendRegistered(buf[:0], 20) },
		"AppendRefusal":    func() { buf = Waku.AppendRefusal(buf[:0], Discover, 400, "later") },
		"WriteFound":       func() { _, _ = Waku.WriteFound(io.Discard, buf, samples[0], nil) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}

// BenchmarkParseRequest compares parsing a REGISTER with the generated code, also in a
// new goroutine, whose stack the generated code has to grow.
func BenchmarkParseRequest(b *testing.B) {
	message, _ := registerMessage(b)
	parsers := map[string]func() error{
		"by hand":   func() error { var r Request; return Waku.ParseRequest(&r, message) },
		"generated": func() error { var m pb.Message; return proto.Unmarshal(message, &m) },
	}
	for name, parse := range parsers {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = parse()
			}
		})
		b.Run(name+" in a new goroutine", func(b *testing.B) {
			b.ReportAllocs()
			done := make(chan error)
			for b.Loop() {
				go func() { done <- parse() }()
				<-done
			}
		})
	}
}

// BenchmarkParseAnswer compares parsing an answer with the generated code.
func BenchmarkParseAnswer(b *testing.B) {
	for _, n := range []int{50, 1000} {
		message := answerTo(b, newSamples(n, 1)[0])
		var a Answer
		parsers := map[string]func() error{
			"by hand":   func() error { return Waku.ParseAnswer(&a, message, n) },
			"generated": func() error { var m pb.Message; return proto.Unmarshal(message, &m) },
		}
		for name, parse := range parsers {
			b.Run(fmt.Sprintf("of %d %s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = parse()
				}
			})
		}
	}
}

// BenchmarkWriteFound shows what prefetching the envelopes is worth, where they are all
// over the memory, as those of a random sample of many registrations are.
func BenchmarkWriteFound(b *testing.B) {
	buf := make([]byte, 0, 64<<10)
	writers := map[string]func(found []Found){
		"with prefetch": func(found []Found) { _, _ = Waku.WriteFound(io.Discard, buf, found, nil) },
		"without":       func(found []Found) { writeWithoutPrefetch(Waku, buf, found) },
	}
	for _, n := range []int{50, 1000} {
		samples := newSamples(n, 100_000/n)
		for name, write := range writers {
			b.Run(fmt.Sprintf("of %d %s", n, name), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					write(samples[i%len(samples)])
				}
			})
		}
	}
}

// writeWithoutPrefetch is what WriteFound does, but for the prefetch.
func writeWithoutPrefetch(d *Dialect, buf []byte, found []Found) {
	found, size := fit(found, d.MaxAnswer)
	w := foundWriter{out: io.Discard, buf: d.appendHeader(buf[:0], DiscoverResponse, size)}
	for i := range found {
		_ = w.makeRoom(maxHeader + int(found[i].size))
		w.buf = found[i].append(w.buf, &d.numbers)
	}
	_, _ = w.out.Write(w.buf)
}

// newSamples returns random samples of n of 100,000 registrations.
func newSamples(n, count int) [][]Found {
	envelopes := make([][]byte, 100_000)
	for i := range envelopes {
		envelopes[i] = bytes.Repeat([]byte{byte(i)}, 224)
	}
	samples := make([][]Found, count)
	for i := range samples {
		samples[i] = make([]Found, n)
		for j := range samples[i] {
			samples[i][j] = Found{Namespace: "/waku/2/default-waku/proto", Envelope: envelopes[rand.IntN(len(envelopes))], TTL: 20}
		}
	}
	return samples
}

// answerTo returns the message of an answer.
func answerTo(t testing.TB, found []Found) []byte {
	t.Helper()
	var out bytes.Buffer
	_, err := Waku.WriteFound(&out, nil, found, nil)
	require.NoError(t, err)
	return cutFrame(t, out.Bytes())
}
