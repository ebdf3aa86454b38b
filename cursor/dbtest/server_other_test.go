//go:build !linux

package dbtest

import "syscall"

// tied does nothing here: no other system ends a process with its parent.
func tied(*syscall.SysProcAttr) {}
