package wire

import (
	"errors"
	"fmt"
)

// ErrProtocol: the other side does not speak the protocol as it is written.
var ErrProtocol = errors.New("protocol violation")

// These errors are made in advance because formatting one needs more stack than parsing
// a message.
var (
	errGroup    = unreadable(errors.New("it contains a group"))
	errNumber   = unreadable(errors.New("the number of a field is too large"))
	errReserved = unreadable(errors.New("a field has a reserved wire type"))
	errNotUTF8  = unreadable(errors.New("a text is not UTF-8"))
)

func unreadable(err error) error {
	return fmt.Errorf("%w: unreadable message: %w", ErrProtocol, err)
}
