package wire

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		message string
		want    error
	}{
		"a group":                 {"\x0b\x0c", errGroup},
		"the end of a group":      {"\x0c", errGroup},
		"a group that is large":   {"\x0b" + strings.Repeat("\x08\x01", 100), errGroup},
		"wire type 6":             {"\x0e\x01", errReserved},
		"wire type 7":             {"\x0f\x01", errReserved},
		"a namespace of Latin 1":  {"\x12\x04\x0a\x02n\xe9", errNotUTF8},
		"half a tag":              {"\x80", io.ErrUnexpectedEOF},
		"a tag and no value":      {"\x08", io.ErrUnexpectedEOF},
		"half a varint":           {"\x08\x80", io.ErrUnexpectedEOF},
		"half a fixed32":          {"\x0d\x01\x02\x03", io.ErrUnexpectedEOF},
		"half a fixed64":          {"\x09\x01\x02\x03\x04\x05\x06\x07", io.ErrUnexpectedEOF},
		"half a text":             {"\x12\x03\x0a\x02n", io.ErrUnexpectedEOF},
		"half a REGISTER":         {"\x12\x04\x0a\x01n", io.ErrUnexpectedEOF},
		"a field of the number 0": {"\x00\x01", nil},
		"a varint over 64 bits":   {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", nil},
		"a length of 2^64-1":      {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", io.ErrUnexpectedEOF},
		"a field of number 2^29":  {"\x80\x80\x80\x80\x10\x01", errNumber},
		"good, and then not":      {"\x08\x02\x22\x03\x0a\x01n\x0b", errGroup},
		"a broken unknown field":  {"\x7a\x05abcd", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			err := Waku.ParseRequest(&r, []byte(test.message))
			require.ErrorIs(t, err, ErrProtocol)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
		})
	}
}
