package batch

import (
	"context"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"example.com/pipeline/seq"
)

// This file is what happens to a load that the cache cannot answer. In order:
//
//  1. load finds no fresh value and no request that waits for the key, and adds
//     the key to the open request; the first one to do so opens it and sets its
//     timer. The key's entry is pinned and points to the request.
//  2. Loads of the same key find that pointer and wait for the same request.
//  3. The timer, or the load that makes MaxBatch, dispatches: the request is not
//     open any more, and a goroutine runs fetch.
//  4. The goroutine stores what came, for those keys whose entries still point to
//     the request: Clear has cut the pointer of the others. Then it closes done,
//     and wake, unless the end of the loader's ctx has closed that before.
//  5. Those who were woken and find done closed read the request, which nobody
//     changes any more; the others leave.
//
// A caller who leaves touches nothing: the request goes on without it.
//
// Nothing of a user's runs under the mutex: neither fetch nor any method of a ctx. So
// load, which is under it, says what is to be done when it is free: start fetch, and
// wait for the end of the loader's ctx.

// refuse returns why a load cannot even begin, or nil. It runs without the mutex.
func (l *Loader[K, V]) refuse(ctx context.Context) error {
	if l.ctx.Err() != nil {
		return seq.ContextError(l.ctx)
	}
	if ctx.Err() != nil {
		return seq.ContextError(ctx)
	}
	return nil
}

// now returns the time since start; without a TTL nobody asks, and it saves the
// reading of the clock.
func (l *Loader[K, V]) now() time.Duration {
	if l.cfg.TTL == 0 {
		return 0
	}
	return time.Since(l.start)
}

// next is what a load has to do for its request once it has let go of the mutex.
type next struct {
	fetch bool // run it in a goroutine: this load has dispatched it
	watch bool // see to it that the end of the loader's ctx wakes its loads: this one has opened it
}

// load returns key's value if it is cached, otherwise what to wait for. The mutex is
// held, here and in all that follows, unless said otherwise.
func (l *Loader[K, V]) load(hash uint32, key K, now time.Duration) (value V, req *request[K, V], pos int32, next next) {
	l.stats.Loads++
	i := l.keys.find(hash, key)
	if i == 0 {
		i = l.keys.add(hash, key)
	}
	s := &l.keys.entries[i].value
	if s.cached && (l.cfg.TTL == 0 || now-s.stored < l.cfg.TTL) {
		l.stats.Hits++
		if s.req == nil {
			l.keys.use(i)
		}
		return s.value, nil, 0, next
	}
	if s.req == nil {
		next.watch = l.ask(i)
	}
	req, pos = s.req, s.pos
	if req == l.open {
		if req.loads++; req.loads == l.cfg.MaxBatch {
			l.dispatch(req)
			next.fetch = true
		}
	}
	return value, req, pos, next
}

// ask adds the key of entry i to the open request. It reports whether it has opened one
// for that.
func (l *Loader[K, V]) ask(i int32) (opened bool) {
	req := l.open
	if req == nil {
		opened = true
		req = &request[K, V]{done: make(chan struct{}), wake: make(chan struct{})}
		req.timer = time.AfterFunc(l.cfg.Wait, func() { l.timeUp(req) })
		l.open = req
	}
	e := &l.keys.entries[i]
	l.keys.pin(i)
	e.value = slot[K, V]{req: req, pos: int32(len(req.keys))}
	req.keys = append(req.keys, e.key)
	req.slots = append(req.slots, i)
	return opened
}

// timeUp fetches what the open request has when its timer fires. It runs in the
// timer's goroutine, without the mutex.
func (l *Loader[K, V]) timeUp(req *request[K, V]) {
	l.mu.Lock()
	open := l.open == req // otherwise MaxBatch was reached as the timer fired
	if open {
		l.dispatch(req)
	}
	l.mu.Unlock()
	if open {
		l.run(req)
	}
}

// dispatch closes the open request to further loads. Somebody must run it.
func (l *Loader[K, V]) dispatch(req *request[K, V]) {
	req.timer.Stop()
	l.open = nil
	l.flights[req] = struct{}{}
}

// watch has the end of the loader's ctx wake the loads that wait for req. It is called
// without the mutex; the request may be done before.
func (l *Loader[K, V]) watch(req *request[K, V]) {
	unwatch := context.AfterFunc(l.ctx, req.wakeAll)
	l.mu.Lock()
	req.unwatch = unwatch
	finished := req.finished
	l.mu.Unlock()
	if finished {
		unwatch()
	}
}

// run fetches. It is the body of the request's goroutine, without the mutex. It is no
// [seq.Task], since any number of goroutines wait for it, and none has to join it.
func (l *Loader[K, V]) run(req *request[K, V]) {
	var found map[K]V
	req.crashed = true
	defer func() {
		if req.crashed { // if recover returns nil it is a Goexit
			if v := recover(); v != nil {
				req.panic = asPanicError(v)
			}
		}
		l.finish(req, found)
	}()
	if req.err = seq.ContextError(l.ctx); req.err == nil {
		l.mu.Lock()
		l.stats.Fetches++
		l.stats.Keys += int64(len(req.keys))
		l.mu.Unlock()
		// A copy, since fetch may sort its keys or keep them.
		values, err := l.fetch(l.ctx, slices.Clone(req.keys))
		found = req.outcome(l.ctx, values, err)
	}
	req.crashed = false
}

// outcome sets what fetch returned instead of values, and returns the values.
func (r *request[K, V]) outcome(ctx context.Context, values map[K]V, err error) map[K]V {
	if err == nil {
		return values
	}
	if r.err = seq.ContextError(ctx); r.err != nil {
		return nil // whatever fetch made of it
	}
	failed, rest, ok := splitKeyErrors[K](err)
	r.err = rest
	if !ok {
		return nil
	}
	r.failed = make([]error, len(r.keys))
	for pos, key := range r.keys {
		r.failed[pos] = failed[key]
	}
	return values
}

func asPanicError(v any) *seq.PanicError {
	if e, ok := v.(*seq.PanicError); ok {
		return e // it has crossed a goroutine before
	}
	return &seq.PanicError{Value: v, Stack: debug.Stack()}
}

// finish takes over what fetch has found. It is called without the mutex.
func (l *Loader[K, V]) finish(req *request[K, V], found map[K]V) {
	req.values = make([]V, len(req.keys))
	req.found = make([]bool, len(req.keys))
	if !req.crashed {
		for pos, key := range req.keys {
			if req.failed == nil || req.failed[pos] == nil {
				req.values[pos], req.found[pos] = found[key]
			}
		}
	}
	unwatch := l.settle(req, l.now())
	close(req.done)
	req.wakeAll()
	if unwatch != nil {
		unwatch()
	}
}

// settle turns the entries that wait for req into cached ones, or drops them. It takes
// the mutex, and returns what ends the wait for the end of the loader's ctx.
func (l *Loader[K, V]) settle(req *request[K, V], now time.Duration) (unwatch func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flights, req)
	req.finished = true
	for pos, i := range req.slots {
		if !l.waitsFor(i, req, pos) {
			continue // cleared
		}
		s := &l.keys.entries[i].value
		s.req = nil
		switch {
		case s.cached: // primed meanwhile: that value stays
			l.store(i, s.value, s.stored)
		case req.found[pos] && l.cfg.Capacity > 0:
			l.store(i, req.values[pos], now)
		default:
			l.keys.remove(i)
		}
	}
	return req.unwatch
}

// waitsFor reports whether entry i still is the key at pos of req, whose entry it
// was when req was open.
func (l *Loader[K, V]) waitsFor(i int32, req *request[K, V], pos int) bool {
	s := &l.keys.entries[i].value
	return s.req == req && int(s.pos) == pos
}

// store caches value in entry i and makes room for it. An entry that is waited for
// stays pinned until then.
func (l *Loader[K, V]) store(i int32, value V, now time.Duration) {
	s := &l.keys.entries[i].value
	s.value, s.stored, s.cached = value, now, true
	if s.req != nil {
		return
	}
	l.keys.use(i)
	if l.keys.linked > l.cfg.Capacity {
		l.keys.remove(l.keys.oldest())
	}
}

// forget drops what entry i holds. An entry of the open request stays: nothing
// has been fetched for it yet.
func (l *Loader[K, V]) forget(i int32) {
	s := &l.keys.entries[i].value
	if s.req != nil && s.req == l.open {
		*s = slot[K, V]{req: s.req, pos: s.pos}
		return
	}
	l.keys.remove(i)
}

// await waits until req is done, ctx ends, or the loader's ctx does. It is called
// without the mutex, as result is. A select over all three would cost ten thousand
// loads more than their share of the fetch: the end of the loader's ctx comes
// through wake.
func (l *Loader[K, V]) await(ctx context.Context, req *request[K, V]) error {
	if left := ctx.Done(); left == nil || left == l.ctx.Done() {
		<-req.wake
	} else {
		select {
		case <-req.wake:
		case <-left:
		}
	}
	select {
	case <-req.done: // what is there is taken, whatever has ended
		return nil
	default:
	}
	if l.ctx.Err() != nil {
		return seq.ContextError(l.ctx)
	}
	return seq.ContextError(ctx)
}

// wakeAll wakes those who wait for r: it is done, or the loader's ctx has ended.
func (r *request[K, V]) wakeAll() { r.woken.Do(func() { close(r.wake) }) }

// result returns what r brought for its key at pos. It panics or calls Goexit where
// fetch did.
func (r *request[K, V]) result(key K, pos int32) (V, error) {
	switch {
	case r.panic != nil:
		panic(r.panic)
	case r.crashed:
		runtime.Goexit()
	case r.found[pos]:
		return r.values[pos], nil
	}
	err := r.err
	if r.failed != nil && r.failed[pos] != nil {
		err = r.failed[pos]
	}
	if err == nil {
		err = &notFoundError{key}
	}
	return r.values[pos], err
}
