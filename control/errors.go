package control

import "errors"

var (
	// ErrTimeout says that a call, or a stream, took longer than it was given.
	// Such an error Is [context.DeadlineExceeded] as well.
	ErrTimeout = errors.New("control: timed out")

	// ErrOpen says that a [Breaker] is open: the call was not made.
	ErrOpen = errors.New("control: the circuit is open")

	// ErrStopped says that a [Gate] was stopped: the call was not made.
	ErrStopped = errors.New("control: the gate was stopped")

	// ErrInProgress says that another process is working on the same key, in a
	// [KeyStore] that cannot wait for it. The call was not made; it can be tried
	// again later.
	ErrInProgress = errors.New("control: the key is in progress elsewhere")
)
