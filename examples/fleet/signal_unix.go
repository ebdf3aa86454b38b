//go:build unix

package main

import (
	"os"
	"syscall"
)

// What a worker is told.
var (
	terminate os.Signal = syscall.SIGTERM // end after the item that you are at
	suspend   os.Signal = syscall.SIGSTOP
	resume    os.Signal = syscall.SIGCONT
)
