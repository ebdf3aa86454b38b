package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
	"github.com/google/go-cmp/cmp"
)

// three is a complete of groups of three.
func three(group []int) bool { return len(group) == 3 }

// tellGathered describes what a Gather of ints yields.
func tellGathered(group []int, err error) string {
	if part, ok := seq.FailedItem[[]int](err); ok && group == nil && errors.Is(err, batch.ErrIncomplete) {
		return fmt.Sprint("partial ", part)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(group)
}

// Groups come out as they get complete, and what is left at the end.
func TestGather(t *testing.T) {
	in := seq.Concat(seq.Of(101, 201, 102, 301, 202, 103, 203, 104, 105), seq.Fail[int](errItem), seq.Of(302))
	gather := batch.Gather(t.Context(), in, batch.JoinConfig{}, hundreds, three)
	want := []string{"[101 102 103]", "[201 202 203]", `item "x": item error`, "partial [301 302]", "partial [104 105]"}
	for range 2 { // with no state between the loops
		var got []string
		for group, err := range gather {
			got = append(got, tellGathered(group, err))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	}
}

// complete sees all that came for a key, and each group belongs to the consumer.
func TestGatherGroups(t *testing.T) {
	asked := 0
	complete := func(group []int) bool {
		asked++
		return group[len(group)-1]%10 == 9
	}
	for group, err := range batch.Gather(t.Context(), seq.Of(100, 200, 101, 109, 100, 209, 109), batch.JoinConfig{}, hundreds, complete) {
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range group {
			if hundreds(x) != hundreds(group[0]) || i == len(group)-1 && x%10 != 9 {
				t.Errorf("group %v", group)
			}
		}
		clear(group)
		_ = append(group, 0)
	}
	if asked != 7 {
		t.Errorf("complete was asked %d times, want once for each item", asked)
	}
}

// What must go says why.
func TestGatherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		in := arrivals(arrival[int]{0, 100, nil}, arrival[int]{0, 200, nil}, arrival[int]{0, 300, nil}, arrival[int]{time.Minute, 400, nil})
		for _, err := range batch.Gather(t.Context(), in, batch.JoinConfig{TTL: time.Second, MaxPending: 2}, hundreds, three) {
			got = append(got, err.Error())
		}
		want := []string{
			"item [100]: batch: incomplete group: key 1 has 1 item: it was the oldest of more than MaxPending; a larger MaxPending holds more",
			"item [200]: batch: incomplete group: key 2 has 1 item: it waited for longer than TTL; a larger TTL waits longer for what is slow",
			"item [300]: batch: incomplete group: key 3 has 1 item: it waited for longer than TTL; a larger TTL waits longer for what is slow",
			"item [400]: batch: incomplete group: key 4 has 1 item: there is nothing more to come",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// A gatherRun is one random run of a Gather.
type gatherRun struct {
	cfg    batch.JoinConfig
	list   []arrival[int]
	cancel time.Duration
	stop   int
}

func newGatherRun(seed uint64) gatherRun {
	r := rand.New(rand.NewPCG(seed, 21))
	pause := func(most time.Duration) time.Duration { return 1 + time.Duration(r.Int64N(int64(most))) }
	run := gatherRun{
		cfg: batch.JoinConfig{
			TTL:        time.Duration(r.IntN(2)) * pause(40*time.Second),
			Sweep:      time.Duration(r.IntN(2)) * pause(10*time.Second),
			MaxPending: r.IntN(5),
		},
		cancel: pause(300 * time.Second),
		stop:   r.IntN(60),
	}
	for n := range r.IntN(60) {
		a := arrival[int]{after: pause(8 * time.Second), item: 100*r.IntN(6) + n}
		switch r.IntN(60) {
		case 0, 1:
			a = arrival[int]{after: a.after, err: errItem}
		case 2:
			a = arrival[int]{after: a.after, err: errFinal}
		}
		run.list = append(run.list, a)
	}
	return run
}

// model returns what has to come out of the run, and when.
func (run gatherRun) model() (out []string) {
	type group struct {
		since time.Duration
		items []int
	}
	var (
		groups []*group // by age
		now    time.Duration
		alarm  time.Duration // 0 means none
	)
	give := func(what any) { out = append(out, fmt.Sprint(now, " ", what)) }
	oldest := func() {
		give(fmt.Sprint("partial ", groups[0].items))
		groups = groups[1:]
	}
	setAlarm := func() {
		if alarm == 0 && run.cfg.TTL > 0 && len(groups) > 0 {
			alarm = now + max(groups[0].since+run.cfg.TTL-now, run.cfg.Sweep)
		}
	}
	at := time.Duration(0)
	for _, a := range run.list {
		at += a.after
		for setAlarm(); alarm > 0 && alarm < min(at, run.cancel); setAlarm() {
			now, alarm = alarm, 0
			for len(groups) > 0 && now-groups[0].since >= run.cfg.TTL {
				oldest()
			}
		}
		if run.cancel < at {
			now = run.cancel
			give(cutText(len(groups)))
			return out
		}
		now = at
		switch {
		case a.err == errItem:
			give(a.err)
			continue
		case a.err != nil:
			for len(groups) > 0 {
				oldest()
			}
			give(a.err)
			return out
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return hundreds(g.items[0]) == hundreds(a.item) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{since: now})
		}
		groups[i].items = append(groups[i].items, a.item)
		if three(groups[i].items) {
			give(groups[i].items)
			groups = slices.Delete(groups, i, i+1)
		} else if run.cfg.MaxPending > 0 && len(groups) > run.cfg.MaxPending {
			oldest()
		}
	}
	for len(groups) > 0 {
		oldest()
	}
	return out
}

// run runs it for real.
func (run gatherRun) run(t *testing.T) (out []string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer time.AfterFunc(run.cancel, cancel).Stop()
		start := time.Now()
		for group, err := range batch.Gather(ctx, arrivals(run.list...), run.cfg, hundreds, three) {
			out = append(out, fmt.Sprint(time.Since(start), " ", tellGathered(group, err)))
			if len(out)-1 == run.stop {
				break
			}
		}
	})
	return out
}

// TestGatherSchedules runs random schedules against the model.
func TestGatherSchedules(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 1000) {
		run := newGatherRun(seed)
		want := run.model()
		if len(want) > run.stop {
			want = want[:run.stop+1]
		}
		if got := run.run(t); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %+v; -want +got\n%s", seed, run, cmp.Diff(want, got))
		}
	}
}
