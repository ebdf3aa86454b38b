package control

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// PerKeyConfig bounds what [PerKey] keeps. The zero value is useful.
type PerKeyConfig struct {
	// Idle is how long a key is kept when no call of it is in flight or waits. From
	// then on it is forgotten, and its next call gets policies as new. So it must be long
	// enough for these to have become as good as new by themselves: the time between two
	// calls of a [Pacer], the time in which the bucket of a rate.Limiter fills, Window
	// and OpenFor of a [Breaker]. 0 means 1 minute.
	Idle time.Duration

	// Keys is how many keys are kept, at most. A call of another key waits until one has
	// been idle for long enough: to forget it earlier would break its limit. Each takes what
	// its policies do and some 300 bytes. 0 means 65,536.
	Keys int
}

// PerKey returns a function that calls fn under policies of the item's own key: so many
// calls at once or a second for each host, a breaker for each customer. policies makes those
// of a key; they are put around fn as [Wrap] does it, the first outermost, and all
// calls of the key share them. What is to be for all keys together goes around or into fn by Wrap:
//
//	ask = control.Wrap(ask, control.Retry{}, control.Timeout(time.Second))
//	ask = control.PerKey(ask, hostOf, func(host string) []control.Policy {
//		return []control.Policy{control.NewInFlight(2), control.Rate(control.NewPacer(5))}
//	}, control.PerKeyConfig{})
//
// As here, a limiter belongs outside of [Timeout]: what a call waits for its turn inside of
// it is taken from the time that the call is to have. Here all tries of a Retry together take
// one token; with PerKey innermost and Retry and Timeout among its policies each try takes one.
//
// A call that waits for its key's turn holds a worker, so a slow key can keep all workers
// of [seq.MapConcurrent] waiting while others have nothing to do. Give it more workers than one
// key can hold up, and a window to look ahead; the limits see to it that no more than they
// allow are in flight.
//
// A key is forgotten when it has been idle for cfg.Idle, never while a call of it is in
// flight or waits. A key that is not equal to itself, such as a NaN, is kept for one call.
//
// The function is safe for concurrent use, and needs no closing. key and policies are
// called in the goroutine of the call; policies may be called for the same key by two of
// them at once, and then the policies of one are used by both. PerKey panics where fn, key
// or policies is nil, or a value of cfg is below 0, and a call does where Wrap would.
func PerKey[T, U any, K comparable](fn func(context.Context, T) (U, error), key func(T) K, policies func(K) []Policy,
	cfg PerKeyConfig) func(context.Context, T) (U, error) {
	need(fn != nil && key != nil && policies != nil, "PerKey", "fn, key and policies must not be nil")
	need(cfg.Idle >= 0 && cfg.Keys >= 0, "PerKey", fmt.Sprintf("Idle and Keys must not be below 0, got %v and %d", cfg.Idle, cfg.Keys))
	orElse(&cfg.Idle, time.Minute)
	orElse(&cfg.Keys, 65_536)
	p := &perKey[T, U, K]{fn: fn, policies: policies, cfg: cfg, kept: make(map[K]*keptKey[T, U, K])}
	return func(ctx context.Context, item T) (U, error) {
		if ctx.Err() != nil {
			var none U
			return none, seq.ContextError(ctx)
		}
		k, err := p.enter(ctx, key(item))
		if err != nil {
			var none U
			return none, err
		}
		defer p.leave(k)
		return k.call(ctx, item)
	}
}

// A perKey is what the calls of one PerKey share.
type perKey[T, U any, K comparable] struct {
	fn       func(context.Context, T) (U, error)
	policies func(K) []Policy
	cfg      PerKeyConfig

	mu     sync.Mutex
	kept   map[K]*keptKey[T, U, K]
	coming int       // keys for which there is room, and whose policies are being made
	idle   list.List // of *keptKey, those without a call, the longest idle first
	line   line      // calls that wait for room
}

// A keptKey is a key with its policies.
type keptKey[T, U any, K comparable] struct {
	key   K
	call  func(context.Context, T) (U, error)
	calls int           // in flight or waiting
	since time.Duration // when it became idle, on clock
	place *list.Element // in idle, or nil
}

// enter returns the key of a call, which is one of its calls then.
func (p *perKey[T, U, K]) enter(ctx context.Context, key K) (*keptKey[T, U, K], error) {
	if key != key {
		return p.make(key), nil
	}
	k, room := p.find(key)
	if k == nil && !room {
		var err error
		if k, err = p.wait(ctx, key); err != nil {
			return nil, err
		}
	}
	if k == nil {
		k = p.add(key)
	}
	return k, nil
}

// find returns the key, where it is kept, or makes room for it, where there is.
func (p *perKey[T, U, K]) find(key K) (k *keptKey[T, U, K], room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	if k = p.take(key); k == nil && p.line.empty() {
		room, _ = p.turn()
	}
	return k, room
}

// wait waits until there is room for the key, or it is kept.
func (p *perKey[T, U, K]) wait(ctx context.Context, key K) (k *keptKey[T, U, K], err error) {
	waiting, over := waitUnder(ctx)
	defer over()
	err = p.line.enter(waiting, &p.mu, func() (ok bool, retry time.Duration) {
		p.forget()
		if k = p.take(key); k != nil {
			return true, 0
		}
		return p.turn()
	})
	if err != nil {
		return nil, notMade(ctx)
	}
	return k, nil
}

// take counts a call of a key that is kept. p.mu is held.
func (p *perKey[T, U, K]) take(key K) *keptKey[T, U, K] {
	k := p.kept[key]
	if k == nil {
		return nil
	}
	k.calls++
	if k.place != nil {
		p.idle.Remove(k.place)
		k.place = nil
	}
	return k
}

// turn makes room for a key. Where there is none, retry is when the key that has been idle
// for longest can be forgotten; 0 where none is idle. p.mu is held.
func (p *perKey[T, U, K]) turn() (ok bool, retry time.Duration) {
	if len(p.kept)+p.coming < p.cfg.Keys {
		p.coming++
		return true, 0
	}
	if first := p.idle.Front(); first != nil {
		retry = until(later(first.Value.(*keptKey[T, U, K]).since, p.cfg.Idle), clock())
	}
	return false, retry
}

// forget forgets the keys that have been idle for long enough. p.mu is held.
func (p *perKey[T, U, K]) forget() {
	for first := p.idle.Front(); first != nil; first = p.idle.Front() {
		k := first.Value.(*keptKey[T, U, K])
		if clock() < later(k.since, p.cfg.Idle) {
			return
		}
		p.idle.Remove(first)
		delete(p.kept, k.key)
	}
}

// make makes a key with one call.
func (p *perKey[T, U, K]) make(key K) *keptKey[T, U, K] {
	return &keptKey[T, U, K]{key: key, calls: 1, call: Wrap(p.fn, p.policies(key)...)}
}

// add keeps a key for which there is room, unless another call has done so meanwhile.
func (p *perKey[T, U, K]) add(key K) (k *keptKey[T, U, K]) {
	var made *keptKey[T, U, K]
	defer func() { // also where policies panics
		p.mu.Lock()
		defer p.mu.Unlock()
		p.coming--
		if made != nil {
			if k = p.take(key); k == nil {
				k = made
				p.kept[key] = k
			}
		}
		p.line.wake() // there may be room, or what the next one waits for
	}()
	made = p.make(key)
	return made
}

// leave ends a call of a key.
func (p *perKey[T, U, K]) leave(k *keptKey[T, U, K]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.calls--; k.calls > 0 || p.kept[k.key] != k {
		return
	}
	k.since = clock()
	k.place = p.idle.PushBack(k)
	p.line.wake()
}
