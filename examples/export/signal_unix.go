//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreFileSizeSignal turns the signal at the limit for the size of a file into
// an error of the write, which comes with a message.
func ignoreFileSizeSignal() { signal.Ignore(syscall.SIGXFSZ) }
