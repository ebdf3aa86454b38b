package batch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"github.com/google/go-cmp/cmp"
)

// A joinRun is one random run of a Join.
type joinRun struct {
	cfg     batch.JoinConfig
	streams [][]arrival[int]
	cancel  time.Duration
	stop    int // the output with which the loop is left
}

func newJoinRun(seed uint64) joinRun {
	r := rand.New(rand.NewPCG(seed, 8))
	pause := func(most time.Duration) time.Duration { return 1 + time.Duration(r.Int64N(int64(most))) }
	run := joinRun{
		cfg: batch.JoinConfig{
			TTL:        time.Duration(r.IntN(2)) * pause(40*time.Second),
			Sweep:      time.Duration(r.IntN(2)) * pause(10*time.Second),
			MaxPending: r.IntN(8),
		},
		streams: make([][]arrival[int], 1+r.IntN(4)),
		cancel:  pause(400 * time.Second),
		stop:    r.IntN(80),
	}
	for i := range run.streams {
		for n := range r.IntN(25) {
			a := arrival[int]{after: pause(10 * time.Second), item: 100*r.IntN(5) + 10*i + n%10}
			switch r.IntN(60) {
			case 0, 1:
				a = arrival[int]{after: a.after, err: errItem}
			case 2:
				a = arrival[int]{after: a.after, err: errFinal}
			}
			run.streams[i] = append(run.streams[i], a)
		}
	}
	return run
}

// model returns what has to come out of the run, and when. Groups are a slice by
// time; each item goes to the first one of its key that lacks its stream. A stream
// with its share of items in groups waits.
func (run joinRun) model() (out []string) {
	type held struct{ item, number int }
	type group struct {
		since time.Duration
		key   int
		items map[int]held // by stream
	}
	var (
		groups []*group
		now    time.Duration
		alarm  time.Duration // 0 means none
		n      = len(run.streams)
		at     = make([]int, n)
		next   = make([]time.Duration, n)
		number = make([]int, n)
		holds  = make([]int, n)
		ended  = make([]bool, n)
		share  = run.cfg.MaxPending / n
	)
	switch {
	case run.cfg.MaxPending == 0:
		share = 65_536 / n
	case share == 0:
		share = 1
	}
	give := func(s string) { out = append(out, fmt.Sprint(now, " ", s)) }
	text := func(g *group) string {
		var items, from []int
		for s := range run.streams {
			if v, ok := g.items[s]; ok {
				items, from = append(items, v.item), append(from, s)
			}
		}
		return fmt.Sprintf("%d: %v of %v", g.key, items, from)
	}
	// due says when stream i yields what is next, or ends.
	due := func(i int) {
		next[i] = now
		if at[i] < len(run.streams[i]) {
			next[i] += run.streams[i][at[i]].after
		}
	}
	remove := func(i int) {
		g := groups[i]
		groups = slices.Delete(groups, i, i+1)
		for s := range g.items {
			if holds[s]--; holds[s] == share-1 && !ended[s] {
				due(s)
			}
		}
	}
	waits := func(i int) bool { return holds[i] >= share }
	// oldest looks at the items of all streams, or only at those of streams that go on.
	oldest := func(all bool) (best int) {
		least := func(i int) (number, stream int) {
			number = 1 << 30
			for s := range n {
				if v, ok := groups[i].items[s]; ok && v.number < number && (all || !ended[s]) {
					number, stream = v.number, s
				}
			}
			return number, stream
		}
		for i := range groups {
			a, s := least(i)
			if b, t := least(best); a < b || a == b && s < t {
				best = i
			}
		}
		return best
	}
	releaseAll := func() {
		for len(groups) > 0 {
			i := oldest(true)
			give("partial " + text(groups[i]))
			groups = slices.Delete(groups, i, i+1)
		}
	}
	for i := range n {
		due(i)
	}
	for {
		if alarm == 0 && run.cfg.TTL > 0 && len(groups) > 0 {
			alarm = now + max(groups[0].since+run.cfg.TTL-now, run.cfg.Sweep)
		}
		first := -1
		for i := range n {
			if !ended[i] && !waits(i) && (first < 0 || next[i] < next[first]) {
				first = i
			}
		}
		switch {
		case first < 0: // all have ended: others would have been evicted
			releaseAll()
			return out
		case run.cancel < next[first] && (alarm == 0 || run.cancel < alarm):
			now = run.cancel
			give(cutText(len(groups)))
			return out
		case alarm > 0 && alarm < next[first]:
			now, alarm = alarm, 0
			for len(groups) > 0 && now-groups[0].since >= run.cfg.TTL {
				give("partial " + text(groups[0]))
				remove(0)
			}
			continue
		}
		now = next[first]
		if at[first] == len(run.streams[first]) {
			ended[first] = true
		} else {
			a := run.streams[first][at[first]]
			at[first]++
			due(first)
			switch {
			case a.err == errItem:
				give(a.err.Error())
				continue
			case a.err != nil:
				releaseAll()
				give(a.err.Error())
				return out
			}
			i := slices.IndexFunc(groups, func(g *group) bool {
				_, has := g.items[first]
				return g.key == hundreds(a.item) && !has
			})
			if i < 0 {
				i = len(groups)
				groups = append(groups, &group{now, hundreds(a.item), map[int]held{}})
			}
			number[first]++
			holds[first]++
			groups[i].items[first] = held{a.item, number[first]}
			if len(groups[i].items) == n {
				give(text(groups[i]))
				remove(i)
			}
		}
		for {
			open, free := 0, 0
			for i := range n {
				if !ended[i] {
					open++
					if !waits(i) {
						free++
					}
				}
			}
			if open == 0 || free > 0 {
				break
			}
			for i := range n {
				number[i] = slices.Max(number)
			}
			i := oldest(false)
			give("partial " + text(groups[i]))
			remove(i)
		}
	}
}

// run runs it for real.
func (run joinRun) run(t *testing.T) (out []string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer time.AfterFunc(run.cancel, cancel).Stop()
		ins := make([]ints, len(run.streams))
		for i, s := range run.streams {
			ins[i] = arrivals(s...)
		}
		start := time.Now()
		for g, err := range batch.Join(ctx, run.cfg, hundreds, ins...) {
			out = append(out, fmt.Sprint(time.Since(start), " ", tell(g, err)))
			if len(out)-1 == run.stop {
				break
			}
		}
	})
	return out
}

// TestJoinSchedules runs 3,000 random schedules of several streams against the
// model. Since every item comes out of the model once, it does so of the Join.
func TestJoinSchedules(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 1500) {
		run := newJoinRun(seed)
		want := run.model()
		got := run.run(t)
		if len(want) > run.stop {
			want = want[:run.stop+1]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: %+v; -want +got\n%s", seed, run, cmp.Diff(want, got))
		}
	}
}
