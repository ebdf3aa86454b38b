// Package sync is the standard library's, with delays around the steps of a Mutex.
package sync

import (
	"sync"

	"example.com/pipeline/delays/delay"
)

type (
	Cond      = sync.Cond
	Map       = sync.Map
	Once      = sync.Once
	Pool      = sync.Pool
	WaitGroup = sync.WaitGroup
)

func OnceFunc(f func()) func()             { return sync.OnceFunc(f) }
func OnceValue[T any](f func() T) func() T { return sync.OnceValue(f) }

type Mutex struct{ m sync.Mutex }

func (m *Mutex) Lock()         { delay.Here(); m.m.Lock(); delay.Here() }
func (m *Mutex) Unlock()       { delay.Here(); m.m.Unlock(); delay.Here() }
func (m *Mutex) TryLock() bool { delay.Here(); defer delay.Here(); return m.m.TryLock() }
