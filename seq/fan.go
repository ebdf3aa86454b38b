package seq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync/atomic"
)

// The fans hold at most 16 pairs a lane: 7 on the way to its stage, 1 in the stage,
// 7 on the way to the consumer, and 1 that the source waits to hand over.
const fanAhead = 7

// Branch sends each pair of in, errors too, to the one branch that route names, and
// yields what comes out of the branches as it comes. route gets a pair as the loop's
// body would: an item with a nil error, or an error with the zero item. It is called
// in the source's goroutine; an index out of range panics.
//
// Each branch is a stage that runs in a goroutine of its own and keeps its order. Its
// input is for one loop at a time; a second loop over it goes on where the first left.
// What is routed to a branch that has ended is dropped, but a final error routed
// there is yielded by itself, after everything else. A branch that is slow holds up the
// source as soon as its lane is full. An item error may overtake items. The branches that
// have something take turns; an idle one costs nothing.
//
// When the consumer leaves or ctx ends, the input of each branch ends with an
// error, so that no branch takes what it got for all there was.
//
// Ends: when all branches have, at a final error of one of them, or when ctx ends.
// Owns: a goroutine for each branch, and one; all have exited when the loop has.
// Reads ahead: at most 16 pairs a branch.
// Reuse: as often as in.
func Branch[T, U any](ctx context.Context, in iter.Seq2[T, error], route func(T, error) int,
	branches ...Stage[T, U]) iter.Seq2[U, error] {
	checkContext("Branch", ctx)
	checkStream("Branch", in)
	checkFunc("Branch", "route", route == nil)
	branches = checkStages("Branch", branches)
	return fanOut("Branch", ctx, in, branches, func(f *fan[T, U], v T, err error) {
		i := route(v, err)
		if i < 0 || i >= len(f.inputs) {
			panic(fmt.Sprintf("seq.Branch: route must name a branch from 0 to %d, got %d", len(f.inputs)-1, i))
		}
		f.inputs[i].send(v, err)
	})
}

// Broadcast sends each pair of in to every branch, and yields what comes out of the
// branches as it comes. The slowest branch sets the pace. An item error of in comes
// once for each branch, a final one once. Otherwise it is like [Branch].
//
// Ends: when all branches have, at a final error of one of them, or when ctx ends.
// Owns: a goroutine for each branch, and one; all have exited when the loop has.
// Reads ahead: at most 16 pairs a branch.
// Reuse: as often as in.
func Broadcast[T, U any](ctx context.Context, in iter.Seq2[T, error], branches ...Stage[T, U]) iter.Seq2[U, error] {
	checkContext("Broadcast", ctx)
	checkStream("Broadcast", in)
	branches = checkStages("Broadcast", branches)
	return fanOut("Broadcast", ctx, in, branches, func(f *fan[T, U], v T, err error) {
		for i := range f.inputs {
			f.inputs[i].send(v, err)
		}
	})
}

// Fork sends each pair of in to whichever of n lanes is free, and yields what comes
// out of the lanes as it comes: a pipeline of several stages on n lanes, where
// [MapUnordered] is one function on n workers. The lanes take from one queue, so a
// slow one hoards nothing. lane is called n times when the stage is built, with the
// number of the lane; n is at most 1,048,576 (1<<20). Otherwise Fork is like [Branch].
//
// After a graceful stop ([WithStop]) a lane is given the error of an item in its place.
// Such errors are kept back until the lanes have ended, 16 for each lane at most.
//
// Ends: when all lanes have, at a final error of one of them, or when ctx ends.
// Owns: a goroutine for each lane, and one; all have exited when the loop has.
// Reads ahead: at most 16 pairs a lane.
// Reuse: as often as in and the lanes' stages.
func Fork[T, U any](ctx context.Context, in iter.Seq2[T, error], n int, lane func(i int) Stage[T, U]) iter.Seq2[U, error] {
	checkContext("Fork", ctx)
	checkStream("Fork", in)
	checkAtLeast("Fork", "n", n, 1)
	if n > atOnce {
		panic(fmt.Sprintf("seq.Fork: n must be at most %d, got %d", atOnce, n))
	}
	checkFunc("Fork", "lane", lane == nil)
	stages := make([]Stage[T, U], n)
	for i := range stages {
		stages[i] = lane(i)
	}
	return fanOut("Fork", ctx, in, checkStages("Fork", stages), nil)
}

// checkStages returns a copy of the stages that is safe from the caller.
func checkStages[T, U any](name string, stages []Stage[T, U]) []Stage[T, U] {
	if len(stages) == 0 {
		panic("seq." + name + ": there must be at least one branch")
	}
	for i, stage := range stages {
		if stage == nil {
			panic(fmt.Sprintf("seq.%s: the stage of branch %d must not be nil", name, i))
		}
	}
	return slices.Clone(stages)
}

// A fan is one loop over Branch, Broadcast or Fork: a source, a goroutine for each
// stage, and the consumer, which collects. The three differ in how the source
// chooses the stages that a pair goes to.
type fan[T, U any] struct {
	collector[U]
	in     iter.Seq2[T, error]
	choose func(f *fan[T, U], v T, err error) // nil for Fork

	inputs []lane[T]      // to each stage; none for Fork
	pool   pool           // the stages, as workers; for Fork alone, like the next one
	queue  queue[pair[T]] // to whichever stage is free
	room   credits        // for pairs in the queue

	refused []error // of items that no lane was given after a graceful stop; the consumer's own

	running   atomic.Int32 // stages that have not ended
	failing   atomic.Bool  // in has failed, and final says why
	delivered atomic.Bool  // a stage has been given the final error: it is its to pass on
}

func fanOut[T, U any](name string, ctx context.Context, in iter.Seq2[T, error], stages []Stage[T, U],
	choose func(*fan[T, U], T, error)) iter.Seq2[U, error] {
	return func(yield func(U, error) bool) {
		f := &fan[T, U]{in: in, choose: choose}
		f.init(ctx, fanAhead)
		f.room = makeCredits(len(stages))
		f.running.Store(int32(len(stages)))
		if choose == nil {
			f.queue.init(&f.pool, len(stages))
			f.pool.init(len(stages), nil, f.queue.some)
			f.pool.started.Store(int32(len(stages)))
			f.room.yield = f.pool.watch
		} else {
			f.inputs = make([]lane[T], len(stages))
			for i := range f.inputs {
				sleeper := makePlace()
				f.inputs[i].init(fanAhead, &sleeper)
			}
		}
		defer f.join()
		defer f.stop()
		if !f.over() {
			for i, stage := range stages {
				out := stage(f.input(i))
				checkStream(name, out)
				lane := f.add()
				f.start(func() { f.run(i, out, lane) })
			}
			f.start(f.feed)
		}
		f.consume(yield)
	}
}

// run runs stage i, whose stream is out.
func (f *fan[T, U]) run(i int, out iter.Seq2[U, error], to *lane[U]) {
	defer func() {
		if f.running.Add(-1) == 0 {
			f.room.close() // there is nobody left to pull for, even while the body is busy
		}
		if f.choose != nil {
			f.inputs[i].close() // what comes for it from now on is dropped
		}
	}()
	out(to.push)
	to.finish()
}

// input is the stream that stage i gets. When the loop has been cut, it ends with an
// error.
func (f *fan[T, U]) input(i int) iter.Seq2[T, error] {
	next := f.taker(i)
	return func(yield func(T, error) bool) {
		for {
			r, ok := next()
			if err := ContextError(f.group.ctx); err != nil {
				var none T
				yield(none, err)
				return
			}
			if !ok {
				return
			}
			final := r.err != nil && !IsItemError(r.err)
			if final {
				f.delivered.Store(true)
			}
			if f.choose == nil && r.err == nil {
				if why := f.refusal(); why != nil {
					r = pair[T]{err: notBegun(r.v, why)}
				}
			}
			if !yield(r.v, r.err) || final {
				return
			}
		}
	}
}

// taker returns the function that takes the next pair for stage i.
func (f *fan[T, U]) taker(i int) func() (pair[T], bool) {
	if f.choose != nil {
		return f.inputs[i].receive
	}
	take := f.queue.taker(false)
	return func() (pair[T], bool) {
		r, ok := take()
		if ok {
			f.room.giveBack()
		}
		return r, ok
	}
}

// feed runs the source.
func (f *fan[T, U]) feed() {
	f.in(f.push)
	for i := range f.inputs {
		f.inputs[i].finish()
	}
	f.pool.close()
}

// push takes a pair from the source.
func (f *fan[T, U]) push(v T, err error) bool {
	if f.room.shut.Load() || f.failing.Load() {
		return false
	}
	final := err != nil && !IsItemError(err)
	if final {
		f.final = err
		f.failing.Store(true)
	}
	if f.choose != nil {
		f.choose(f, v, err)
		return !final && !f.room.shut.Load()
	}
	f.room.spend()
	f.queue.hand(pair[T]{v, err})
	return !final && f.room.wait()
}

// consume yields what the stages yield. The final error of in waits until every
// stage is done with what came before it.
func (f *fan[T, U]) consume(yield func(U, error) bool) {
	var last error
	for {
		l := f.next()
		if l == nil {
			if f.over() || len(f.refused) == 0 {
				break
			}
			if !f.yieldRefused(yield) {
				return
			}
			continue
		}
		r := l.take()
		if r.err != nil && f.over() {
			break // the error may be that of an interrupted callback
		}
		if r.err != nil && f.defers(r.err) {
			if len(f.refused) > f.most() && !f.yieldRefused(yield) {
				return
			}
			continue
		}
		if r.err != nil && !IsItemError(r.err) && f.fromSource(r.err) {
			last = r.err
			l.close()
			continue
		}
		if !emit(&f.group, yield, r.v, r.err) || r.err != nil && !IsItemError(r.err) {
			return
		}
	}
	if last == nil && f.failing.Load() && !f.delivered.Load() {
		last = f.final // routed to a stage that had ended
	}
	conclude(&f.group, yield, last)
}

// defers keeps back an error that says that an item is not done, so that what the lanes
// have begun comes first.
func (f *fan[T, U]) defers(err error) bool {
	if f.choose != nil || !f.halted() || !errors.Is(err, ErrStopped) || !IsItemError(err) {
		return false
	}
	f.refused = append(f.refused, err)
	return true
}

// most is how many errors are kept back: as many as the lanes may have to do.
func (f *fan[T, U]) most() int { return 2 * (fanAhead + 1) * int(f.room.limit) }

// yieldRefused yields what has been kept back. It is false where the consumer has left.
func (f *fan[T, U]) yieldRefused(yield func(U, error) bool) bool {
	refused := f.refused
	f.refused = nil
	return emitAll(&f.group, yield, refused)
}

// fromSource reports whether a final error that a stage yielded is the one of in. One
// that cannot be compared is taken for it: to wait for the other stages loses nothing.
func (f *fan[T, U]) fromSource(err error) bool {
	return f.failing.Load() && (!reflect.ValueOf(f.final).Comparable() || errors.Is(err, f.final))
}

// stop lets go of the source and of all stages. The source comes first, so that it
// does not go on when a stage that is let go makes room.
func (f *fan[T, U]) stop() {
	f.room.close()
	defer f.pool.close()
	defer func() {
		for i := range f.inputs {
			f.inputs[i].close()
			f.inputs[i].to.wake()
		}
	}()
	f.collector.stop()
}
