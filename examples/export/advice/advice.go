// Package advice makes errors that say what a user can do about them.
package advice

import "fmt"

// An Error is an error with advice.
type Error struct {
	Err    error
	Advice string // whole sentences
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error without the advice.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error with advice; the rest is for [fmt.Errorf].
func New(advice, format string, args ...any) error {
	return &Error{fmt.Errorf(format, args...), advice}
}
