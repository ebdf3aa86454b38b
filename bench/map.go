package main

import (
	"fmt"
	"sync"
	"time"
)

// --- work --------------------------------------------------------------------------

// spin computes for about so many rounds, and returns v.
//
//go:noinline
func spin(v, rounds int) int {
	x := uint(v)
	for range rounds {
		x = x*1664525 + 1013904223
	}
	if x == 1 { // never to be known at compile time
		return v + 1
	}
	return v
}

// roundsPerMicrosecond is what spin has to be told for a microsecond.
var roundsPerMicrosecond = sync.OnceValue(func() int {
	best := time.Hour
	for range 1000 {
		start := time.Now()
		spin(1, 10_000)
		best = min(best, time.Since(start))
	}
	return max(int(10_000*time.Microsecond/max(best, 1)), 1)
})

func trivialWork(v int) (int, error) { return v ^ 0x55, nil }

func microsecondWork(v int) (int, error) { return spin(v^0x55, roundsPerMicrosecond()), nil }

// millisecondWork waits, as for a service; computing, two processors could not do
// more of it however many workers there are.
func millisecondWork(v int) (int, error) {
	time.Sleep(time.Millisecond)
	return v ^ 0x55, nil
}

// --- the part ----------------------------------------------------------------------

var workers = []int{2, 8, 64}

func (b *bench) mapPart() ([]*result, error) {
	works := []struct {
		id, name string
		fn       func(int) (int, error)
		items    func(workers int) int
	}{
		{"trivial", "trivial work", trivialWork, func(int) int { return b.items(100_000, 500) }},
		{"1us", "1 µs of computing", microsecondWork, func(int) int { return b.items(30_000, 500) }},
		{"1ms", "1 ms of waiting", millisecondWork, func(n int) int { return b.items(40*n, 2*n) }},
	}
	kinds := []struct {
		id, title string
		maps      []mapper[int]
		take      func(*digest, int)
	}{
		{"ordered", "Concurrent map that keeps the order", orderedMaps[int](), (*digest).inOrder},
		{"unordered", "Concurrent map in any order", unorderedMaps[int](), (*digest).anyOrder},
	}
	var results []*result
	for _, kind := range kinds {
		for _, work := range works {
			t := table{
				id:    kind.id + "-" + work.id,
				title: kind.title + ": " + work.name,
				about: aboutMap(kind.id, work.id),
			}
			for _, n := range workers {
				r := race{name: columnName(n), items: work.items(n), micro: work.id == "1ms"}
				for _, m := range append(kind.maps, mapLimits[int]()...) {
					if work.id == "1ms" && m.name == "limit: a bare loop" {
						continue // it would wait for all of them
					}
					r.contestants = append(r.contestants, m.contestant(n, r.items, work.fn, kind.take))
				}
				t.races = append(t.races, r)
			}
			result, err := b.run(t)
			if err != nil {
				return nil, err
			}
			results = append(results, result)
		}
	}
	return results, nil
}

func columnName(workers int) string { return fmt.Sprintf("%d workers", workers) }

// contestant makes m do one work with n workers.
func (m mapper[U]) contestant(n, items int, fn func(int) (U, error), take func(*digest, U)) contestant {
	return contestant{m.name, m.module, m.role, func() (o outcome, err error) {
		err = m.run(n, numbers(items), fn, func(v U) { take(&o.sum, v) })
		return o, err
	}}
}

func aboutMap(kind, work string) string {
	about := "Time an item takes from a stream of integers, through the work, to the loop that sums the results up."
	switch work {
	case "trivial":
		about += " The work is a single operation, so this is what handing over costs."
	case "1us":
		about += " The work computes for a microsecond."
	case "1ms":
		about += " The work sleeps for a millisecond, as a call of a service does; the operating system makes about 1.1 ms of it."
	}
	if kind == "ordered" {
		about += " The last two peers take a slice and give a slice: they hold all items and all results at once, and give none before the last is ready."
	}
	return about
}
