package peerrecord

import "fmt"

// InvalidError says why an envelope is no valid signed peer record.
type InvalidError struct {
	Reason string // short, for peers
	Err    error  // the underlying error, or nil
}

func (e *InvalidError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

func (e *InvalidError) Unwrap() error { return e.Err }

func invalid(reason string) error { return &InvalidError{Reason: reason} }
