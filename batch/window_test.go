package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// An arrival is what a source yields after a pause: an item, an item error or a
// final error.
type arrival[T any] struct {
	after time.Duration
	item  T
	err   error
}

// arrivals is a source that sleeps without a look at any ctx.
func arrivals[T any](list ...arrival[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, a := range list {
			time.Sleep(a.after)
			if !yield(a.item, a.err) {
				return
			}
		}
	}
}

// A record is one output and when it came.
type record struct {
	at    time.Duration
	items []int
	err   error
}

func (r record) String() string {
	if r.err != nil {
		return fmt.Sprintf("%v: error %v", r.at, r.err)
	}
	return fmt.Sprintf("%v: %v", r.at, r.items)
}

// texts returns the records as text.
func texts(records []record) (out []string) {
	for _, r := range records {
		out = append(out, r.String())
	}
	return out
}

func same(a, b record) bool {
	return a.at == b.at && slices.Equal(a.items, b.items) && a.err == b.err
}

// follow ranges over in with a body that takes so long for each output, in turn,
// and leaves the loop with output number stop, counted from 0.
func follow(in batches, bodies []time.Duration, stop int) []record {
	var got []record
	start := time.Now()
	for items, err := range in {
		got = append(got, record{time.Since(start), items, err})
		time.Sleep(bodies[(len(got)-1)%len(bodies)])
		if len(got)-1 == stop {
			break
		}
	}
	return got
}

// The timelines of the doc comments.
func TestTimelines(t *testing.T) {
	window := func(in ints) batches { return batch.Window(context.Background(), in, 3, 10*ms) }
	debounce := func(in ints) batches { return batch.Debounce(context.Background(), in, 4, 10*ms) }
	for _, tc := range []struct {
		name   string
		build  func(ints) batches
		at     []time.Duration // when items 1, 2, ... come
		bodies []time.Duration
		want   string
	}{
		{"Window, idle source", window, []time.Duration{0, 3 * ms, 40 * ms}, []time.Duration{0}, "[10ms: [1 2] 50ms: [3]]"},
		{"Window, slow consumer", window, []time.Duration{0, 4 * ms, 8 * ms, 15 * ms, 30 * ms}, []time.Duration{32 * ms, 0}, "[8ms: [1 2 3] 40ms: [4 5]]"},
		{"Window, both", window, []time.Duration{0, 12 * ms}, []time.Duration{10 * ms, 0}, "[10ms: [1] 22ms: [2]]"},
		{"Debounce, idle source", debounce, []time.Duration{0, 6 * ms, 12 * ms}, []time.Duration{0}, "[22ms: [1 2 3]]"},
		{"Debounce, slow consumer", debounce, []time.Duration{0, 15 * ms}, []time.Duration{25 * ms, 0}, "[10ms: [1] 35ms: [2]]"},
		{"Debounce, both", debounce, []time.Duration{0, 15 * ms, 28 * ms}, []time.Duration{22 * ms, 0}, "[10ms: [1] 38ms: [2 3]]"},
		{"Debounce, full", debounce, []time.Duration{0, 6 * ms, 12 * ms, 18 * ms, 24 * ms}, []time.Duration{0}, "[18ms: [1 2 3 4] 34ms: [5]]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var list []arrival[int]
				last := time.Duration(0)
				for i, at := range tc.at {
					list = append(list, arrival[int]{after: at - last, item: i + 1})
					last = at
				}
				// Then it idles, so that nothing but the clock cuts.
				list = append(list, arrival[int]{after: time.Second, err: errors.New("the end")})
				got := follow(tc.build(arrivals(list...)), tc.bodies, len(strings.Split(tc.want, ":"))-2)
				if d := cmp.Diff(tc.want, fmt.Sprint(got)); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
			})
		})
	}
}

// A schedule is one random run of a Window, a Debounce or a Batches.
type schedule struct {
	name   string
	limits batch.Limits[int]
	list   []arrival[int]
	bodies []time.Duration
	cancel time.Duration // when ctx ends
	stop   int           // the output with which the loop is left
}

// never is later than all that happens.
const never = time.Duration(1<<63 - 1)

// build builds the stage.
func (s schedule) build(ctx context.Context, in ints) batches {
	switch s.name {
	case "Window":
		return batch.Window(ctx, in, s.limits.Items, s.limits.Wait)
	case "Debounce":
		return batch.Debounce(ctx, in, s.limits.Items, s.limits.Quiet)
	}
	return batch.Batches(ctx, in, s.limits)
}

// due is when a batch has to be handed over whose first and last items came then.
func (s schedule) due(first, latest time.Duration) time.Duration {
	due := never
	if s.limits.Wait > 0 {
		due = first + s.limits.Wait
	}
	if s.limits.Quiet > 0 {
		due = min(due, latest+s.limits.Quiet)
	}
	return due
}

// weigh returns the weight of the items of a batch.
func (s schedule) weigh(items []int) (weight int) {
	if s.limits.Weigh != nil {
		for _, v := range items {
			weight += s.limits.Weigh(v)
		}
	}
	return weight
}

var (
	errItem  = &seq.ItemError{Item: "x", Err: errors.New("item error")}
	errFinal = errors.New("final error")
	errCause = errors.New("cause")
)

// newSchedule makes the schedule of a seed. Pauses are zero, so that items come in
// bursts, or random to the nanosecond, so that no two things that could go either
// way ever happen at one instant.
func newSchedule(seed uint64) schedule {
	r := rand.New(rand.NewPCG(seed, 6))
	pause := func() time.Duration {
		if r.IntN(2) == 0 {
			return 0
		}
		return 1 + time.Duration(r.Int64N(int64(10*time.Second)))
	}
	wait := func() time.Duration { return 1 + time.Duration(r.Int64N(int64(15*time.Second))) }
	s := schedule{
		name:   []string{"Window", "Debounce", "Batches", "Batches"}[r.IntN(4)],
		limits: batch.Limits[int]{Items: 1 + r.IntN(6)},
		cancel: 1 + time.Duration(r.Int64N(int64(300*time.Second))),
		stop:   r.IntN(60),
	}
	if s.name == "Window" || s.name == "Batches" && r.IntN(2) == 0 {
		s.limits.Wait = wait()
	}
	if s.name == "Debounce" || s.name == "Batches" && r.IntN(2) == 0 {
		s.limits.Quiet = wait()
	}
	if s.name == "Batches" && r.IntN(2) == 0 {
		weights := make([]int, 7)
		for i := range weights {
			weights[i] = r.IntN(12)
		}
		s.limits.Weigh, s.limits.Weight = func(v int) int { return weights[v%7] }, 10
		s.limits.Items *= r.IntN(2)
	}
	if s.name == "Batches" && s.limits.Wait+s.limits.Quiet > 0 {
		s.limits.Items *= r.IntN(2)
	}
	if s.name == "Batches" && r.IntN(3) == 0 {
		s.limits.Last = func(v int) bool { return v%5 == 3 }
	}
	for i := range r.IntN(40) {
		a := arrival[int]{after: pause(), item: i}
		if i > 0 && s.list[i-1].err != nil && a.after == 0 {
			a.after = time.Second // otherwise the source and the loop go on at one instant
		}
		switch r.IntN(40) {
		case 0, 1, 2, 3:
			a = arrival[int]{after: a.after, err: errItem}
		case 4:
			a = arrival[int]{after: a.after, err: errFinal}
		}
		s.list = append(s.list, a)
	}
	for range 7 {
		body := pause()
		if s.name == "Batches" {
			body++ // an item that began the next batch may be due as the source goes on
		}
		s.bodies = append(s.bodies, body)
	}
	return s
}

// model says what has to come out of s, and when. It knows of no goroutine, no
// lock and no timer: it goes from one instant to the next.
func (s schedule) model() []record {
	var (
		out     []record
		now     time.Duration
		free    time.Duration // when the body comes back
		next    time.Duration // when the source yields list[at]
		at      int
		closed  [][]int
		held    []int
		first   time.Duration // when the first of held came
		latest  time.Duration // when the last of held came
		hand    error         // the item error that the source waits with
		blocked bool          // the source waits: with hand, or until closed is taken
		ended   bool
		shut    bool // nothing is accepted since the loop has seen the end of ctx
		final   error
		goOn    = func() {
			blocked = false
			at++
			next = never
			if at < len(s.list) {
				next = now + s.list[at].after
			}
		}
		give = func(items []int, err error) {
			out = append(out, record{now, items, err})
			free = now + s.bodies[(len(out)-1)%len(s.bodies)]
		}
	)
	at = -1
	goOn()
	for {
		if at == len(s.list) {
			ended = true
		}
		cut := now >= s.cancel
		shut = shut || cut && now >= free
		if now >= free && (len(out) == 0 || len(out)-1 < s.stop) {
			switch {
			case len(closed) > 0:
				items := closed[0]
				closed = closed[1:]
				give(items, nil)
				if blocked && len(closed) == 0 {
					goOn()
				}
				continue
			case hand != nil:
				err := hand
				hand = nil
				give(nil, err)
				goOn()
				continue
			case len(held) > 0 && (cut || ended || now >= s.due(first, latest)):
				items := held
				held = nil
				give(items, nil)
				continue
			case cut:
				give(nil, errCause)
				return out
			case ended:
				if final != nil {
					give(nil, final)
				}
				return out
			}
		} else if now >= free {
			return out
		}
		// To the next instant at which anything can happen.
		then := never
		if !blocked && !ended && !shut {
			then = min(then, next)
		}
		if now < free {
			then = min(then, free)
		} else {
			if len(held) > 0 {
				then = min(then, s.due(first, latest))
			}
			then = min(then, s.cancel)
		}
		now = then
		if blocked || ended || shut || now < next || now >= s.cancel && now >= free {
			continue
		}
		switch a := s.list[at]; {
		case a.err == errItem:
			hand, blocked = a.err, true
		case a.err != nil:
			ended, final = true, a.err
		default:
			if len(held) > 0 && (s.limits.Weigh != nil && s.weigh(held)+s.limits.Weigh(a.item) > s.limits.Weight ||
				s.limits.Weigh == nil && s.limits.Items == 0 && now >= s.due(first, latest)) {
				closed, held = append(closed, held), nil
			}
			held, latest = append(held, a.item), now
			if len(held) == 1 {
				first = now
			}
			if len(held) == s.limits.Items || s.limits.Last != nil && s.limits.Last(a.item) ||
				s.limits.Weigh != nil && s.weigh(held) >= s.limits.Weight {
				closed, held = append(closed, held), nil
			}
			if blocked = len(closed) > 0; !blocked {
				goOn()
			}
		}
	}
}

// run runs s for real, on the fake clock.
func (s schedule) run(t *testing.T) (got []record, came map[int]time.Duration) {
	came = make(map[int]time.Duration)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		defer time.AfterFunc(s.cancel, func() { cancel(errCause) }).Stop()
		start := time.Now()
		in := seq.Tap(arrivals(s.list...), func(i int, err error) {
			if err == nil {
				came[i] = time.Since(start)
			}
		})
		got = follow(s.build(ctx, in), s.bodies, s.stop)
	})
	for i, r := range got {
		if errors.Is(r.err, errCause) && errors.Is(r.err, context.Canceled) {
			got[i].err = errCause
		}
	}
	return got, came
}

// check looks at what came out without the model: every item is in one batch, in
// order, none is missing, no batch is over n, and none is older than a loop that
// waits may find it.
func (s schedule) check(got []record, came map[int]time.Duration) error {
	var all []int
	waited := time.Duration(0) // since when the loop waits
	for i, r := range got {
		if r.err == nil {
			if len(r.items) == 0 || cap(r.items) > len(r.items) ||
				len(r.items) > s.limits.Items && s.limits.Items > 0 || len(r.items) > 1 && s.weigh(r.items) > max(s.limits.Weight, 0) {
				return fmt.Errorf("output %d is %v, with room for %d; limits %+v", i, r.items, cap(r.items), s.limits)
			}
			due := s.due(came[r.items[0]], came[r.items[len(r.items)-1]])
			if r.at > max(waited, due) {
				return fmt.Errorf("output %d came at %v, it was due at %v, the loop waited from %v", i, r.at, due, waited)
			}
			all = append(all, r.items...)
		}
		waited = r.at + s.bodies[i%len(s.bodies)]
	}
	want := 0
	for _, a := range s.list {
		if a.err == nil && want < len(all) {
			if all[want] != a.item {
				return fmt.Errorf("items %v: want %d at place %d", all, a.item, want)
			}
			want++
		}
	}
	if want != len(all) {
		return fmt.Errorf("items %v: more than came", all)
	}
	return nil
}

// TestSchedules runs 10,000 random schedules of arrivals, pauses, errors, slow
// bodies, cancels and breaks against the model. A goroutine that is left would not
// let a bubble end.
func TestSchedules(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 5000) {
		s := newSchedule(seed)
		want := s.model()
		got, came := s.run(t)
		if err := s.check(got, came); err != nil {
			t.Fatalf("seed %d: %v\n%+v\n got %v", seed, err, s, got)
		}
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("seed %d: %+v; -want +got\n%s", seed, s, cmp.Diff(texts(want), texts(got)))
		}
	}
}
