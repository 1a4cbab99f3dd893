package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/libp2p/go-msgio"
	"github.com/stretchr/testify/require"
)

// TestFrameOfMsgio checks the framing against libp2p's.
func TestFrameOfMsgio(t *testing.T) {
	want := Request{Kind: Discover, Discover: Query{Namespace: []byte("a namespace"), Limit: 7}}
	frame := Waku.AppendRequest(nil, &want)
	message, err := msgio.NewVarintReader(bytes.NewReader(frame)).ReadMsg()
	require.NoError(t, err)
	var got Request
	require.NoError(t, Waku.ParseRequest(&got, message))
	require.Equal(t, want, got)

	var buf bytes.Buffer
	require.NoError(t, msgio.NewVarintWriter(&buf).WriteMsg(message))
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
		{"one byte over the limit", "\x81\x80\x01", ErrProtocol},
		{"4 GiB", "\x80\x80\x80\x80\x10", ErrProtocol},
		{"a length over 63 bits", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrProtocol},
		{"a length that is not minimal", "\x81\x00a", ErrProtocol},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ReadFrame(bufio.NewReader(strings.NewReader(test.in)), nil, 16<<10)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.in == "", err == io.EOF, "it is io.EOF itself between two frames only") //nolint:errorlint // compares values
		})
	}
}

// TestReadFrameGrowsWithWhatArrives: a length alone must not reserve memory.
func TestReadFrameGrowsWithWhatArrives(t *testing.T) {
	announced := []byte{0x80, 0x80, 0x80, 0x02} // 4 MiB
	r := bufio.NewReader(nil)
	const times = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		r.Reset(bytes.NewReader(announced))
		_, err := ReadFrame(r, nil, Waku.MaxAnswer)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/times, uint64(16<<10))
}

func TestFrameSize(t *testing.T) {
	for n, want := range map[int]int{0: 1, 1: 2, 127: 128, 128: 130, 1<<14 - 1: 1<<14 + 1, 1 << 14: 1<<14 + 3, 4 << 20: 4<<20 + 4} {
		require.Equal(t, want, FrameSize(n), "%d", n)
	}
}

// chunked reads data in pieces: of sizes[0] bytes, then sizes[1], and so on around.
type chunked struct {
	data, sizes []byte
	next        int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(c.data))
	if len(c.sizes) > 0 {
		n = min(n, int(c.sizes[c.next%len(c.sizes)])) // a Reader may return 0
		c.next++
	}
	copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

// modelFrame is ReadFrame over bytes that are all there, as plainly as it can be written.
func modelFrame(data []byte, limit int) (body, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, io.EOF
	}
	n, size := binary.Uvarint(data)
	switch {
	case size == 0 && len(data) < 9:
		return nil, nil, io.ErrUnexpectedEOF
	case size <= 0, n > math.MaxInt64, size > 1 && data[size-1] == 0, n > uint64(limit):
		return nil, nil, ErrProtocol
	case n > uint64(len(data)-size):
		return nil, nil, io.ErrUnexpectedEOF
	}
	data = data[size:]
	return data[:n], data[n:], nil
}

// FuzzReadFrame: whatever the bytes are and however they arrive, the frames are those of
// the model, and so is the error after the last one.
func FuzzReadFrame(f *testing.F) {
	const limit = 1 << 14
	for _, v := range readVectors(f) {
		frame := unhex(f, v.Frame)
		f.Add(frame, []byte{1})
		f.Add(append(frame, frame...), []byte{7, 0, 255})
	}
	f.Add([]byte{}, []byte{})
	f.Add([]byte("\x05abc"), []byte{2})
	f.Add([]byte("\x80\x80\x80\x80\x10"), []byte{})
	f.Add([]byte("\x81\x00a"), []byte{1})
	f.Add(bytes.Repeat([]byte{0xff}, 11), []byte{3})
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		if len(sizes) > 0 && bytes.Count(sizes, []byte{0}) == len(sizes) {
			return // a reader that never gives anything
		}
		in := bufio.NewReaderSize(&chunked{data: data, sizes: sizes}, 16)
		var buf []byte
		for {
			want, rest, wantErr := modelFrame(data, limit)
			got, err := ReadFrame(in, buf, limit)
			if wantErr != nil {
				require.ErrorIs(t, err, wantErr)
				return
			}
			if errors.Is(err, io.ErrNoProgress) {
				return // what bufio says after a hundred empty reads
			}
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			require.LessOrEqual(t, cap(got), 4*limit)
			data, buf = rest, got
		}
	})
}
