// Package fault says what kind of failure an error is, once, where the error is born.
//
// Everything above decides by class and reason, never by text. An Error's text is safe to log, to put in a
// dead letter and to show an operator: it is made of the reason, the act and the class, and of nothing that
// came from a vendor's body or a person's record.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class is what a caller may do about an error.
type Class int

const (
	// Transient failures go away by themselves: retry.
	Transient Class = iota
	// Permanent failures come back with the same input: do not retry.
	Permanent
	// Throttled means not now: retry, but not before RetryAfter.
	Throttled
	// Unknown means that the effect may have happened: look before doing anything else.
	Unknown
)

func (c Class) String() string {
	switch c {
	case Permanent:
		return "permanent"
	case Throttled:
		return "throttled"
	case Unknown:
		return "unknown"
	default:
		return "transient"
	}
}

// Error is a classified failure.
type Error struct {
	Class Class
	// Reason is a short stable token such as "repeated-cursor": what programs compare and operators search for.
	Reason string
	// RetryAfter is the wait that the other side asked for; zero when it asked for none.
	RetryAfter time.Duration
	// Detail is one plain sentence for the operator. It holds no secret and nobody's address.
	Detail string
	// Err is the cause, for errors.Is and errors.As only. Its text is never printed: it may quote a vendor.
	Err error
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Reason
	}
	return e.Reason + ": " + e.Detail
}

func (e *Error) Unwrap() error { return e.Err }

// New makes a classified error; detail is a format for the operator's sentence.
func New(c Class, reason, detail string, args ...any) *Error {
	return &Error{Class: c, Reason: reason, Detail: fmt.Sprintf(detail, args...)}
}

// Because attaches the cause, which stays reachable for errors.Is and unprinted.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// After attaches the wait that the other side asked for.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// ClassOf returns the class of err. An error that nobody classified is transient: it is retried a bounded number
// of times and then set aside, which loses nothing.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Transient
}

// ReasonOf returns the reason token of err, or "internal" for an error that nobody classified.
func ReasonOf(err error) string {
	switch e, ok := errors.AsType[*Error](err); {
	case ok:
		return e.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "internal"
	}
}

// Text returns what may be shown of err: the text of its classified part, or only its type. Texts of foreign
// errors quote URLs, bodies and rows, so they are never shown.
func Text(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Error()
	}
	return fmt.Sprintf("%s (%T)", ReasonOf(err), err)
}

// RetryAfter returns the wait that the other side asked for, if it did.
func RetryAfter(err error) (time.Duration, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter, e.RetryAfter > 0
	}
	return 0, false
}
