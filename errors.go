package rendezvous

// What can go wrong, as values that errors.Is and errors.As find through
// whatever wraps them.

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/status-im/go-waku-rendezvous/pb"
)

// Status is what a point answers to a request. Its names are those of the wire
// (docs/protocol.md): OK, E_INVALID_NAMESPACE and so on.
type Status = pb.Message_ResponseStatus

// StatusError is a refusal: what the other side answered, or what this side
// would have been answered had it asked. Two of them match under [errors.Is] when
// their statuses do, so callers compare with [ErrUnavailable] and its like.
type StatusError struct {
	Status Status
	// Text is the other side's explanation for humans. It is theirs to choose:
	// show it, do not act on it.
	Text string
}

func (e *StatusError) Error() string {
	name := strings.TrimPrefix(e.Status.String(), "E_")
	name = strings.ToLower(strings.ReplaceAll(name, "_", " "))
	if e.Text == "" {
		return name
	}
	return fmt.Sprintf("%s: %q", name, e.Text)
}

// Is reports whether target is a StatusError of the same status.
func (e *StatusError) Is(target error) bool {
	t, ok := target.(*StatusError)
	return ok && t.Status == e.Status
}

// One sentinel for each status but OK.
var (
	// ErrInvalidNamespace: the namespace is empty, over [MaxNamespaceSize] bytes or not UTF-8.
	ErrInvalidNamespace error = &StatusError{Status: pb.Message_E_INVALID_NAMESPACE}
	// ErrInvalidPeerInfo: the signed peer record does not hold.
	ErrInvalidPeerInfo error = &StatusError{Status: pb.Message_E_INVALID_PEER_INFO}
	// ErrInvalidTTL: the TTL is negative or longer than the point grants.
	ErrInvalidTTL error = &StatusError{Status: pb.Message_E_INVALID_TTL}
	// ErrNotAuthorized: the point does not let this peer do that, or not any more of it.
	ErrNotAuthorized error = &StatusError{Status: pb.Message_E_NOT_AUTHORIZED}
	// ErrInternal: the point failed. Another point may not.
	ErrInternal error = &StatusError{Status: pb.Message_E_INTERNAL_ERROR}
	// ErrUnavailable: the point cannot serve this now. Try later, or another point.
	ErrUnavailable error = &StatusError{Status: pb.Message_E_UNAVAILABLE}
)

var (
	// ErrProtocol: the other side does not speak the protocol as it is written.
	ErrProtocol = errors.New("protocol violation")
	// ErrNoPoints: no rendezvous point is known. Pass some to [WithPoints], or
	// connect the host to one.
	ErrNoPoints = errors.New("no rendezvous point known: name one with WithPoints, or connect the host to one")
	// ErrNoAddresses: the host has no address that others could use, so there is
	// nothing to register yet.
	ErrNoAddresses = errors.New("host has no addresses to register")
)

// What a [Storage] answers beside its own failures.
var (
	// ErrPeerLimit: the peer holds as many registrations as it may.
	ErrPeerLimit = errors.New("peer is at its registration limit")
	// ErrFull: the storage holds as many registrations as it may.
	ErrFull = errors.New("storage is full")
	// ErrUnreachable: what is behind the storage cannot be reached now and may be
	// later. Storages wrap it.
	ErrUnreachable = errors.New("storage out of reach")
	// ErrClosed: the storage was closed.
	ErrClosed = errors.New("storage is closed")
)

func refuse(s Status, text string) *StatusError {
	return &StatusError{Status: s, Text: text}
}

// maxStatusText bounds, in bytes, what is kept of another side's explanation.
const maxStatusText = 256

// statusError turns an answer's status into an error, nil for OK.
func statusError(s Status, text string) error {
	if s == pb.Message_OK {
		return nil
	}
	if len(text) > maxStatusText {
		cut := maxStatusText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return refuse(s, strings.Clone(text))
}
