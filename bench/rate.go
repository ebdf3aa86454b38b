package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"

	"example.com/pipeline/control"
	"example.com/pipeline/seq"
)

const (
	moduleRate = "golang.org/x/time"
	moduleUber = "go.uber.org/ratelimit"
)

// A pace returns when the next item may go.
type pace = func(ctx context.Context) error

func uberPace(perSecond int, opts ...uber.Option) pace {
	l := uber.New(perSecond, opts...)
	return func(context.Context) error {
		l.Take()
		return nil
	}
}

// pacers evenly space so many items a second.
var pacers = []struct {
	name, module string
	role         role
	start        func(perSecond int) pace
}{
	{"control.Pacer", moduleOurs, ours, func(n int) pace { return control.NewPacer(float64(n)).Wait }},
	{"x/time/rate, burst 1", moduleRate, peer, func(n int) pace { return rate.NewLimiter(rate.Limit(n), 1).Wait }},
	{"uber ratelimit", moduleUber, peer, func(n int) pace { return uberPace(n) }},
	{"uber ratelimit, no slack", moduleUber, peer, func(n int) pace { return uberPace(n, uber.WithoutSlack) }},
}

func (b *bench) ratePart() ([]*result, error) {
	span := time.Duration(float64(250*time.Millisecond) * min(1, 3*b.scale)) // a quick run cuts less here: the ends weigh 1 ms
	span = max(span, 20*time.Millisecond)
	reached := table{
		id:    "rate",
		title: "Evenly spaced rate: how much of what was asked for is reached",
		about: "Items that pass in a quarter of a second, in percent of the rate asked for. The timers of the operating system take about 1.1 ms for the shortest sleep: " +
			"a limiter that forgets by how much it came late falls behind. uber's default catches up on as much as ten items' time, so ten of them can pass at once after a rest.",
	}
	for _, perSecond := range []int{500, 5_000, 20_000, 100_000} {
		r := race{name: thousands(float64(perSecond)) + " a second"}
		r.columns = []column{{name: r.name, unit: "%", higher: true}}
		for _, p := range pacers {
			r.contestants = append(r.contestants, contestant{p.name, p.module, p.role, func() (outcome, error) {
				return paced(p.start(perSecond), perSecond, span)
			}})
		}
		reached.races = append(reached.races, r)
	}
	cost := table{
		id:    "rate-cost",
		title: "Cost of a token that need not be waited for",
		about: "Time to take a token of a limiter set to a billion a second; for x/time/rate with a burst that is never used up.",
	}
	n := b.items(200_000, 100)
	r := race{name: "a token", items: n}
	for _, p := range []struct {
		name, module string
		role         role
		start        func() pace
	}{
		{"control.Pacer", moduleOurs, ours, func() pace { return control.NewPacer(1e9).Wait }},
		{"x/time/rate", moduleRate, peer, func() pace { return rate.NewLimiter(1e9, 1e9).Wait }},
		{"uber ratelimit", moduleUber, peer, func() pace { return uberPace(1e9) }},
		{"limit: time.Now", "", limit, func() pace {
			return func(context.Context) error {
				if time.Now().IsZero() {
					return errors.New("no time")
				}
				return nil
			}
		}},
	} {
		r.contestants = append(r.contestants, contestant{p.name, p.module, p.role, func() (o outcome, err error) {
			wait := p.start()
			for i := range n {
				if err := wait(context.Background()); err != nil {
					return o, err
				}
				o.sum.inOrder(i)
			}
			return o, nil
		}})
	}
	cost.races = []race{r}
	var results []*result
	for _, t := range []table{reached, cost} {
		result, err := b.run(t)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// paced sends numbers through a pipeline for span and measures which part of the
// rate it reaches. The first item goes at once and is not counted.
func paced(wait pace, perSecond int, span time.Duration) (o outcome, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var start, last time.Time
	next := 0
	for v, err := range control.RateLimit(ctx, seq.From(naturals(1<<40)), limiter(wait)) {
		if err != nil {
			return o, err
		}
		if v != next {
			return o, fmt.Errorf("item %d instead of %d", v, next)
		}
		if last = time.Now(); next == 0 {
			start = last
		}
		if next++; last.Sub(start) >= span {
			break
		}
	}
	o.sum = 1 // all in order; how many depends on the pace
	o.values = []float64{100 * float64(next-1) / last.Sub(start).Seconds() / float64(perSecond)}
	return o, nil
}

type limiter pace

func (l limiter) Wait(ctx context.Context) error { return l(ctx) }
