package batch

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"example.com/pipeline/seq"
)

// An intake reads several streams, each in a goroutine of its own, for one loop.
//
// The loop takes all that has come at once. A stream is pulled while it has fewer
// than 8 pairs that were not taken, and fewer than share items that are held: not
// taken yet, or taken and not given back. So a stream that is far ahead waits, and
// holds nobody else up.
type intake[T any] struct {
	share int
	ready chan struct{} // a token says: look what has come
	tasks []*seq.Task

	// The loop's own.
	taken []arrival[T]
	back  []int // the stream of each item that has been given back since the last take

	mu      sync.Mutex
	came    []arrival[T] // not yet taken
	lanes   []lane
	waiting bool // the loop waits for a token
	ended   bool // nothing more is accepted
	crashed int  // the stream that ended by a panic or Goexit first; -1 where none did
}

// aheadOfLoop is how many pairs of each stream have come and not been handled, at
// most: half of them are with the loop, and half wait until it takes them.
const aheadOfLoop = 16

// A lane is what an intake knows of one stream.
type lane struct {
	room sync.Cond // the stream waits here until it may be pulled
	came int       // pairs not yet taken
	held int       // items not yet given back
}

// An arrival is what comes of one stream: a pair, or its end, which has no error.
type arrival[T any] struct {
	stream int
	item   T
	err    error
	last   bool // the end or a final error
}

// spins is how often a goroutine lets others run before it sleeps.
const spins = 4

// newIntake returns an intake of so many streams.
func newIntake[T any](share, streams int) *intake[T] {
	in := &intake[T]{
		share: share, ready: make(chan struct{}, 1), crashed: -1,
		lanes: make([]lane, streams),
	}
	for i := range in.lanes {
		in.lanes[i].room.L = &in.mu
	}
	return in
}

// start begins to read. The loop must call stop, also where start panics half way,
// since a method of ctx did.
func (in *intake[T]) start(ctx context.Context, streams []iter.Seq2[T, error]) {
	for i, stream := range streams {
		in.tasks = append(in.tasks, seq.Go(ctx, func() { in.read(i, stream) }))
	}
}

// read is the body of a stream's goroutine.
func (in *intake[T]) read(i int, stream iter.Seq2[T, error]) {
	crashed := true
	defer func() {
		if crashed {
			in.crash(i)
		}
	}()
	over := false
	for v, err := range stream {
		last := err != nil && !seq.IsItemError(err) // whose methods run here, without the mutex
		if !in.put(arrival[T]{i, v, err, last}) || last {
			over = true
			break
		}
	}
	if !over {
		in.put(arrival[T]{stream: i, last: true})
	}
	crashed = false
}

// put hands over a. It returns when the stream may be pulled again, or has ended;
// it is false when nothing more is accepted.
func (in *intake[T]) put(a arrival[T]) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return false
	}
	l := &in.lanes[a.stream]
	in.came = append(in.came, a)
	l.came++
	if a.err == nil && !a.last {
		l.held++
	}
	in.wake()
	for round := 0; !in.ended && !a.last && !in.mayPull(l); round++ {
		if round < spins {
			in.mu.Unlock()
			runtime.Gosched()
			in.mu.Lock()
		} else {
			l.room.Wait()
		}
	}
	return !in.ended
}

func (in *intake[T]) mayPull(l *lane) bool {
	return l.came < aheadOfLoop/2 && l.held < in.share
}

// wake wakes the loop, if it waits.
func (in *intake[T]) wake() {
	if in.waiting {
		in.waiting = false
		select {
		case in.ready <- struct{}{}:
		default: // there is a token that the loop has not needed
		}
	}
}

// crash says that stream i has ended by a panic or Goexit.
func (in *intake[T]) crash(i int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.crashed < 0 {
		in.crashed = i
	}
	in.wake()
}

// take puts into taken what has come. Where that is nothing, a token will be in
// ready when there is something. It is false when a stream has crashed.
func (in *intake[T]) take() bool {
	for round := 0; ; round++ {
		in.mu.Lock()
		for _, i := range in.back {
			in.lanes[i].held--
			in.letGo(i)
		}
		in.back = in.back[:0]
		if in.crashed >= 0 {
			in.mu.Unlock()
			return false
		}
		if len(in.came) > 0 || round == spins {
			break
		}
		in.mu.Unlock()
		runtime.Gosched()
	}
	defer in.mu.Unlock()
	in.taken, in.came = in.came, in.taken[:0]
	for i := range in.taken {
		in.lanes[in.taken[i].stream].came = 0
		in.letGo(in.taken[i].stream)
	}
	in.waiting = len(in.taken) == 0
	return true
}

// letGo wakes stream i if it may be pulled again.
func (in *intake[T]) letGo(i int) {
	if l := &in.lanes[i]; in.mayPull(l) {
		l.room.Signal()
	}
}

// stop ends all streams, waits for them, and passes on how one of them crashed: of
// several the first.
func (in *intake[T]) stop() {
	in.mu.Lock()
	in.ended = true
	for i := range in.lanes {
		in.lanes[i].room.Signal()
	}
	in.mu.Unlock()
	for _, task := range in.tasks {
		task.Wait()
	}
	if in.crashed >= 0 { // all have ended: nobody writes it any more
		in.tasks[in.crashed].Join()
	}
}
