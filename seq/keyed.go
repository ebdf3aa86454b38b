package seq

import (
	"context"
	"sync"
	"sync/atomic"
)

// A keyed is one loop over MapKeyed: an ordered in which an item waits until the one
// before it of the same key is done. The source puts the items of each key into a chain;
// the first of a chain is ready for a worker, and when it is done the next one is.
// Workers take the ready item that was pulled first, since its result is due first.
type keyed[T, U any, K comparable] struct {
	ordered[T, U]
	key    func(T) K
	chains map[K]*chain // the source's own, like the next two
	spare  []*chain
	sweep  int // at how many chains those that are idle are dropped

	mu    sync.Mutex // held for a few instructions; nothing of the user's runs meanwhile
	ready readyItems
	some  atomic.Bool // ready holds something
}

// A chain is the items of one key that are not done.
type chain struct {
	busy    atomic.Bool // one of them is ready or at work; only the source makes a chain busy
	waiting []uint64    // the positions of the others, in order
	head    int         // of waiting
}

// minSweep is the least number of chains at which the idle ones are dropped.
const minSweep = 64

func (k *keyed[T, U, K]) begin(ctx context.Context, n, window int, key func(T) K,
	fn func(context.Context, T) (U, error)) {
	k.key = key
	k.chains = make(map[K]*chain)
	k.sweep = minSweep
	k.ordered.begin(ctx, n, window, fn, k.work, k.some.Load, k.buryNext)
}

// push takes a pair from the source.
func (k *keyed[T, U, K]) push(v T, err error) bool {
	if err != nil {
		return k.ordered.push(v, err)
	}
	if !k.admit(nil) {
		return false
	}
	c := k.chainOf(k.key(v))
	pos := k.spent
	k.spend()
	k.head.at(pos).v.item = v
	if k.link(pos, c) {
		k.call()
		k.nudge()
	}
	return k.wait()
}

// chainOf returns the chain of a key. There are at most twice as many as were busy at
// some time.
func (k *keyed[T, U, K]) chainOf(key K) *chain {
	if c := k.chains[key]; c != nil {
		return c
	}
	if key != key { // a NaN, which no map finds again
		return new(chain)
	}
	if len(k.chains) >= k.sweep {
		for key, c := range k.chains {
			if !c.busy.Load() {
				delete(k.chains, key)
				k.spare = append(k.spare, c)
			}
		}
		k.sweep = max(minSweep, 2*len(k.chains))
	}
	var c *chain
	if n := len(k.spare); n > 0 {
		c, k.spare = k.spare[n-1], k.spare[:n-1]
	} else {
		c = new(chain)
	}
	k.chains[key] = c
	return c
}

// link adds the item at pos to its chain and reports whether it is ready.
func (k *keyed[T, U, K]) link(pos uint64, c *chain) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.busy.Load() {
		c.waiting = append(c.waiting, pos)
		return false
	}
	c.busy.Store(true)
	k.ready.push(readyItem{pos, c})
	k.some.Store(true)
	return true
}

// unlink takes the first item off its chain, since it is done. The next one is ready
// then.
func (k *keyed[T, U, K]) unlink(c *chain) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.head == len(c.waiting) {
		c.busy.Store(false)
		return
	}
	k.ready.push(readyItem{c.waiting[c.head], c})
	k.some.Store(true)
	c.head++
	if 2*c.head >= len(c.waiting) { // at most as much is moved as has been taken
		c.waiting = append(c.waiting[:0], c.waiting[c.head:]...)
		c.head = 0
	}
}

// claim takes the first of the ready items.
func (k *keyed[T, U, K]) claim() (r readyItem, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.ready) == 0 {
		return r, false
	}
	r = k.ready.pop()
	k.some.Store(len(k.ready) > 0)
	return r, true
}

// work is a worker.
func (k *keyed[T, U, K]) work() {
	var r readyItem
	claim := func() (ok bool) {
		r, ok = k.claim()
		return ok
	}
	asks := k.halt != nil
	for ok := k.next(true, claim); ok && k.group.ctx.Err() == nil; ok = k.next(false, claim) {
		if asks {
			if why := k.mayCall(); why != nil {
				k.drop(r, why)
				return
			}
		}
		c := k.ring.table(r.pos).at(r.pos)
		v, err := k.fn(k.group.ctx, c.v.item)
		if asks {
			k.called()
		}
		if err == nil {
			c.v.v = v
		} else {
			c.v.err = failure(c.v.item, err)
		}
		k.publish(c, r.pos)
		k.unlink(r.chain)
	}
}

// drop refuses a ready item.
func (k *keyed[T, U, K]) drop(r readyItem, why error) {
	k.refuse(k.ring.table(r.pos).at(r.pos), r.pos, why)
	k.unlink(r.chain)
}

// buryNext refuses the next ready item, if there is one.
func (k *keyed[T, U, K]) buryNext() bool {
	r, ok := k.claim()
	if ok {
		k.drop(r, k.halt())
	}
	return ok
}

// A readyItem is an item that a worker may begin.
type readyItem struct {
	pos   uint64
	chain *chain
}

// readyItems are a binary heap with the lowest position on top. That of container/heap
// would allocate for each.
type readyItems []readyItem

func (h *readyItems) push(r readyItem) {
	q := append(*h, r)
	*h = q
	for i := len(q) - 1; i > 0; {
		parent := (i - 1) / 2
		if q[parent].pos <= q[i].pos {
			return
		}
		q[parent], q[i] = q[i], q[parent]
		i = parent
	}
}

func (h *readyItems) pop() readyItem {
	q := *h
	top, last := q[0], len(q)-1
	q[0], q[last] = q[last], readyItem{}
	q = q[:last]
	*h = q
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q); child++ {
			if q[child].pos < q[least].pos {
				least = child
			}
		}
		if least == i {
			return top
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}
