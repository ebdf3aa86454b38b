// Package atomic is the standard library's, with delays around each operation.
package atomic

import (
	"sync/atomic"

	"example.com/pipeline/delays/delay"
)

type Value = atomic.Value

type Bool struct{ v atomic.Bool }

func (b *Bool) Load() bool       { delay.Here(); defer delay.Here(); return b.v.Load() }
func (b *Bool) Store(v bool)     { delay.Here(); defer delay.Here(); b.v.Store(v) }
func (b *Bool) Swap(v bool) bool { delay.Here(); defer delay.Here(); return b.v.Swap(v) }
func (b *Bool) CompareAndSwap(old, v bool) bool {
	delay.Here()
	defer delay.Here()
	return b.v.CompareAndSwap(old, v)
}

type Pointer[T any] struct{ v atomic.Pointer[T] }

func (p *Pointer[T]) Load() *T     { delay.Here(); defer delay.Here(); return p.v.Load() }
func (p *Pointer[T]) Store(v *T)   { delay.Here(); defer delay.Here(); p.v.Store(v) }
func (p *Pointer[T]) Swap(v *T) *T { delay.Here(); defer delay.Here(); return p.v.Swap(v) }
func (p *Pointer[T]) CompareAndSwap(old, v *T) bool {
	delay.Here()
	defer delay.Here()
	return p.v.CompareAndSwap(old, v)
}

// A number is what Int32, Int64 and Uint64 have in common.
type number[V any] interface {
	Load() V
	Store(V)
	Swap(V) V
	Add(V) V
	Or(V) V
	CompareAndSwap(old, v V) bool
}

type delayed[V any, N any, P interface {
	*N
	number[V]
}] struct{ n N }

func (d *delayed[V, N, P]) Load() V    { delay.Here(); defer delay.Here(); return P(&d.n).Load() }
func (d *delayed[V, N, P]) Store(v V)  { delay.Here(); defer delay.Here(); P(&d.n).Store(v) }
func (d *delayed[V, N, P]) Swap(v V) V { delay.Here(); defer delay.Here(); return P(&d.n).Swap(v) }
func (d *delayed[V, N, P]) Add(v V) V  { delay.Here(); defer delay.Here(); return P(&d.n).Add(v) }
func (d *delayed[V, N, P]) Or(v V) V   { delay.Here(); defer delay.Here(); return P(&d.n).Or(v) }
func (d *delayed[V, N, P]) CompareAndSwap(old, v V) bool {
	delay.Here()
	defer delay.Here()
	return P(&d.n).CompareAndSwap(old, v)
}

type (
	Int32  = delayed[int32, atomic.Int32, *atomic.Int32]
	Int64  = delayed[int64, atomic.Int64, *atomic.Int64]
	Uint64 = delayed[uint64, atomic.Uint64, *atomic.Uint64]
)
