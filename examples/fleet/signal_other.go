//go:build !unix

package main

import "os"

// Here a process can only be killed, and not suspended.
var (
	terminate os.Signal = os.Kill
	suspend   os.Signal
	resume    os.Signal
)
