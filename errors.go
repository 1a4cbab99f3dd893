package rendezvous

// All errors of the package but [ErrDatabaseLocked], and what peers are told of each.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/status-im/go-waku-rendezvous/internal/limit"
	"github.com/status-im/go-waku-rendezvous/internal/peerrecord"
	"github.com/status-im/go-waku-rendezvous/internal/points"
	"github.com/status-im/go-waku-rendezvous/internal/registry"
	"github.com/status-im/go-waku-rendezvous/internal/wire"
	"github.com/status-im/go-waku-rendezvous/pb"
)

// Status is the status of an answer. The names are those of the wire
// (docs/protocol.md): OK, E_INVALID_NAMESPACE and so on.
type Status = pb.Message_ResponseStatus

// StatusError is a refusal: the other side's answer, or an error found on this side
// that the other side would have answered in the same way. Two of them match under
// [errors.Is] when their statuses do, so compare with [ErrUnavailable] and the other
// sentinels.
type StatusError struct {
	Status Status
	// Text is the other side's explanation for humans. The other side chooses it,
	// so show it but do not act on it.
	Text string
}

func (e *StatusError) Error() string {
	name := statusName(e.Status)
	if e.Text == "" {
		return name
	}
	return fmt.Sprintf("%s: %q", name, e.Text)
}

// statusName returns a status in words: "invalid ttl" is E_INVALID_TTL.
func statusName(s Status) string {
	if s == statusInvalidCookie {
		return "invalid cookie"
	}
	name, known := pb.Message_ResponseStatus_name[int32(s)]
	if !known {
		return fmt.Sprintf("unknown status %d", s)
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "E_"), "_", " "))
}

// Is reports whether target is a StatusError of the same status.
func (e *StatusError) Is(target error) bool {
	t, ok := target.(*StatusError)
	return ok && t.Status == e.Status
}

// statusInvalidCookie is E_INVALID_COOKIE of [StandardID], which [RendezvousID_v001] does not
// have.
const statusInvalidCookie Status = 103

// One sentinel for each status but OK.
var (
	// ErrInvalidNamespace: the namespace is empty, over [MaxNamespaceSize] bytes or not UTF-8.
	ErrInvalidNamespace error = &StatusError{Status: pb.Message_E_INVALID_NAMESPACE}
	// ErrInvalidPeerInfo: the signed peer record is missing, malformed, badly signed or
	// that of another peer.
	ErrInvalidPeerInfo error = &StatusError{Status: pb.Message_E_INVALID_PEER_INFO}
	// ErrInvalidTTL: the TTL is negative or longer than the point grants.
	ErrInvalidTTL error = &StatusError{Status: pb.Message_E_INVALID_TTL}
	// ErrInvalidCookie: the point does not know the cookie of a DISCOVER over [StandardID].
	// The client then starts over without a cookie. So it returns this error only if a
	// point answers it to a request without a cookie.
	ErrInvalidCookie error = &StatusError{Status: statusInvalidCookie}
	// ErrNotAuthorized: the point does not allow this peer to do that, or to do more of it.
	ErrNotAuthorized error = &StatusError{Status: pb.Message_E_NOT_AUTHORIZED}
	// ErrInternal: the point failed. Another point may not.
	ErrInternal error = &StatusError{Status: pb.Message_E_INTERNAL_ERROR}
	// ErrUnavailable: the point cannot serve this now. Try later, or another point.
	ErrUnavailable error = &StatusError{Status: pb.Message_E_UNAVAILABLE}
)

var (
	// ErrProtocol: the other side violates the protocol.
	ErrProtocol = wire.ErrProtocol
	// ErrNoPoints: no rendezvous point is known. Name one with [WithPoints], or
	// connect the host to one.
	ErrNoPoints = points.ErrNoPoints
	// ErrNoAddresses: the host has no address that others could use, so there is
	// nothing to register yet.
	ErrNoAddresses = peerrecord.ErrNoAddresses
)

// Errors of a [Storage], beside its own failures.
var (
	// ErrPeerLimit: the peer is at its registration limit.
	ErrPeerLimit = registry.ErrPeerLimit
	// ErrOriginLimit: the peer's IP address, or an IPv6 network that it is in, is at
	// its registration limit.
	ErrOriginLimit = registry.ErrOriginLimit
	// ErrFull: the storage is at its limit of registrations or of their bytes.
	ErrFull = registry.ErrFull
	// ErrUnreachable: the database or server behind the storage cannot be reached for
	// now. Storages wrap it.
	ErrUnreachable = errors.New("storage out of reach")
	// ErrClosed: the storage was closed.
	ErrClosed = errors.New("storage is closed")
)

// errTooMany is the refusal of a request over the rate, before it is looked at.
var errTooMany = refuse(pb.Message_E_UNAVAILABLE, "too many requests")

// errUnable is what peers are told while the storage cannot be used.
var errUnable = refuse(pb.Message_E_UNAVAILABLE, "rendezvous point cannot serve this now")

// Errors that end a stream, beside [ErrProtocol].
var (
	errStopping = errors.New("service is stopping")
	errResource = errors.New("resource limit reached")
	errRate     = errors.New("far over the rate limit")
	errPanic    = errors.New("panic")
	errGone     = errors.New("the peer has gone")
)

// storageError marks an error as a storage's. Peers never see its text, even if it
// wraps another point's answer.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// Reason says why a point refused a request, more exactly than the [Status] of its
// answer. It is a metric label.
type Reason string

// The reasons. NotRefused is that of a request that was not refused.
const (
	NotRefused             Reason = ""
	ReasonInvalidNamespace Reason = "invalid_namespace"
	ReasonInvalidPeerInfo  Reason = "invalid_peer_info"
	ReasonInvalidTTL       Reason = "invalid_ttl"
	ReasonNotAuthorized    Reason = "not_authorized"
	ReasonPeerLimit        Reason = "peer_limit"
	ReasonIPLimit          Reason = "ip_limit"
	ReasonFull             Reason = "full"
	ReasonRateLimited      Reason = "rate_limited"
	ReasonEgressLimited    Reason = "egress_limited"
	ReasonResourceLimit    Reason = "resource_limit"
	ReasonUnavailable      Reason = "unavailable"
	ReasonInternalError    Reason = "internal_error"
)

// statusReasons are the reasons of refusals that say no more than their status.
var statusReasons = map[Status]Reason{
	pb.Message_E_INVALID_NAMESPACE: ReasonInvalidNamespace,
	pb.Message_E_INVALID_PEER_INFO: ReasonInvalidPeerInfo,
	pb.Message_E_INVALID_TTL:       ReasonInvalidTTL,
	pb.Message_E_NOT_AUTHORIZED:    ReasonNotAuthorized,
	pb.Message_E_INTERNAL_ERROR:    ReasonInternalError,
	pb.Message_E_UNAVAILABLE:       ReasonUnavailable,
}

// errorRefusals has what peers are told of errors that are not refusals themselves, and the
// reasons. Those that peers cause do not concern the operator. Any other error is a failure of
// the point itself.
var errorRefusals = []struct {
	err     error
	refusal *StatusError
	reason  Reason
	byPeers bool
}{
	{ErrPeerLimit, refuse(pb.Message_E_NOT_AUTHORIZED, "too many registrations of this peer"), ReasonPeerLimit, true},
	{ErrOriginLimit, refuse(pb.Message_E_UNAVAILABLE, "too many registrations from this IP address"), ReasonIPLimit, true},
	{ErrFull, refuse(pb.Message_E_UNAVAILABLE, "rendezvous point is full"), ReasonFull, false},
	{limit.ErrLargeDraws, errTooMany, ReasonRateLimited, true},
	{limit.ErrSlowDraws, refuse(pb.Message_E_UNAVAILABLE, "too many large samples at a time"), ReasonUnavailable, true},
	{limit.ErrEgress, refuse(pb.Message_E_UNAVAILABLE, "too many bytes of answers"), ReasonEgressLimited, true},
	{limit.ErrMemory, refuse(pb.Message_E_UNAVAILABLE, "rendezvous point has no memory for an answer now"), ReasonResourceLimit, true},
	{ErrUnreachable, errUnable, ReasonUnavailable, false},
	{ErrClosed, errUnable, ReasonUnavailable, false},
	{context.Canceled, errUnable, ReasonUnavailable, false},
	{context.DeadlineExceeded, errUnable, ReasonUnavailable, false},
}

// reasons returns all reasons but NotRefused.
func reasons() []Reason {
	all := make(map[Reason]bool)
	for _, r := range statusReasons {
		all[r] = true
	}
	for _, other := range errorRefusals {
		all[other.reason] = true
	}
	all[ReasonRateLimited] = true // of errTooMany
	return slices.Sorted(maps.Keys(all))
}

func refuse(s Status, text string) *StatusError {
	return &StatusError{Status: s, Text: text}
}

// refusalOf returns the refusal with which a peer is answered because of an error,
// and the reason for the operator. The refusal reveals nothing about the inside of
// the point.
func refusalOf(err error) (*StatusError, Reason) {
	if refused, ok := asRefusal(err); ok {
		if refused == errTooMany {
			return refused, ReasonRateLimited
		}
		return refused, statusReasons[refused.Status]
	}
	for _, other := range errorRefusals {
		if errors.Is(err, other.err) {
			return other.refusal, other.reason
		}
	}
	return refuse(pb.Message_E_INTERNAL_ERROR, "internal error"), ReasonInternalError
}

// asRefusal returns the refusal in err, if a peer may be answered with it. An
// invalid peer record is a refusal. An error of a storage is not, nor is a status
// that has no reason.
func asRefusal(err error) (*StatusError, bool) {
	if _, inside := errors.AsType[storageError](err); inside {
		return nil, false
	}
	if invalid, ok := errors.AsType[*peerrecord.InvalidError](err); ok {
		return refuse(pb.Message_E_INVALID_PEER_INFO, invalid.Reason), true
	}
	refused, ok := errors.AsType[*StatusError](err)
	if !ok || statusReasons[refused.Status] == "" {
		return nil, false
	}
	return refused, true
}

// concernsOperator reports whether to warn the operator of a request's error: the
// storage is full or has failed. Refusals that the peer itself causes do not concern
// the operator.
func concernsOperator(err error) bool {
	if _, refused := asRefusal(err); refused {
		return false
	}
	for _, other := range errorRefusals {
		if errors.Is(err, other.err) {
			return !other.byPeers
		}
	}
	return true
}

// maxStatusText is how many bytes of another side's explanation are kept.
const maxStatusText = 256

// statusError returns an answer's status as an error, nil for OK.
func statusError(status int32, text string) error {
	if Status(status) == pb.Message_OK {
		return nil
	}
	if len(text) > maxStatusText {
		cut := maxStatusText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return refuse(Status(status), strings.Clone(text))
}
