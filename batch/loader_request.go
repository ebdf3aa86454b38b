package batch

import (
	"context"
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
//     open any more, and a goroutine runs fetch without the mutex.
//  4. The goroutine stores what came, for those keys whose entries still point to
//     the request: Clear has cut the pointer of the others. Then it closes done,
//     and wake, unless the end of the loader's ctx has closed that before.
//  5. Those who were woken and find done closed read the request, which nobody
//     changes any more; the others leave.
//
// A caller who leaves touches nothing: the request goes on without it.

// refuse returns why a load cannot even begin, or nil. It runs without the mutex,
// as all that calls a ctx's methods.
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

// load returns key's value if it is cached, else what to wait for. The mutex is
// held, here and in all that follows, unless said otherwise.
func (l *Loader[K, V]) load(hash uint32, key K, now time.Duration) (value V, req *request[K, V], pos int32) {
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
		return s.value, nil, 0
	}
	if s.req == nil {
		l.ask(i)
	}
	req, pos = s.req, s.pos
	if req == l.open {
		if req.loads++; req.loads == l.cfg.MaxBatch {
			l.dispatch(req)
		}
	}
	return value, req, pos
}

// ask adds the key of entry i to the open request, and opens one if need be.
func (l *Loader[K, V]) ask(i int32) {
	req := l.open
	if req == nil {
		req = &request[K, V]{done: make(chan struct{}), wake: make(chan struct{})}
		req.unwatch = context.AfterFunc(l.ctx, req.wakeAll)
		req.timer = time.AfterFunc(l.cfg.Wait, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.open == req { // else MaxBatch was reached as the timer fired
				l.dispatch(req)
			}
		})
		l.open = req
	}
	e := &l.keys.entries[i]
	l.keys.pin(i)
	e.value = slot[K, V]{req: req, pos: int32(len(req.keys))}
	req.keys = append(req.keys, e.key)
	req.slots = append(req.slots, i)
}

// dispatch closes the open request to further loads and has it fetched.
func (l *Loader[K, V]) dispatch(req *request[K, V]) {
	req.timer.Stop()
	l.open = nil
	l.flights[req] = struct{}{}
	req.task = seq.Go(context.Background(), func() { l.run(req) })
}

// run fetches. It is the body of the request's goroutine, without the mutex.
func (l *Loader[K, V]) run(req *request[K, V]) {
	var found map[K]V
	req.crashed = true
	defer func() { l.finish(req, found) }()
	if req.err = seq.ContextError(l.ctx); req.err == nil {
		l.mu.Lock()
		l.stats.Fetches++
		l.stats.Keys += int64(len(req.keys))
		l.mu.Unlock()
		// A copy, since fetch may sort its keys or keep them.
		found, req.err = l.fetch(l.ctx, slices.Clone(req.keys))
		if req.err != nil && l.ctx.Err() != nil {
			req.err = seq.ContextError(l.ctx) // whatever fetch made of it
		}
	}
	req.crashed = false
}

// finish takes over what fetch returned. It is called without the mutex.
func (l *Loader[K, V]) finish(req *request[K, V], found map[K]V) {
	req.values = make([]V, len(req.keys))
	req.found = make([]bool, len(req.keys))
	if !req.crashed && req.err == nil {
		for pos, key := range req.keys {
			req.values[pos], req.found[pos] = found[key]
		}
	}
	l.settle(req, l.now())
	close(req.done)
	req.unwatch()
	req.wakeAll()
}

// settle turns the entries that wait for req into cached ones, or drops them.
func (l *Loader[K, V]) settle(req *request[K, V], now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flights, req)
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

// result returns what req brought for its key at pos. It panics or calls Goexit
// where fetch did.
func (r *request[K, V]) result(key K, pos int32) (V, error) {
	if r.crashed {
		r.task.Join()
	}
	if r.err == nil && !r.found[pos] {
		return r.values[pos], &notFoundError{key}
	}
	return r.values[pos], r.err
}
