package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// A role says what a contestant is there for.
type role int

const (
	ours  role = iota // this library; the first of a table, in its default form, is the one that ratios are about
	peer              // what else there is for this work, from a module or by hand
	limit             // what cannot be beaten: the same work without what is measured
)

// A contestant does the work of a race.
type contestant struct {
	name   string
	module string // the path of the module it is of, for its version; empty for what is written by hand
	role   role
	work   func() (outcome, error)
}

// An outcome is what a contestant made of the work once.
type outcome struct {
	sum    digest
	values []float64 // one for each column, in a race whose contestants measure themselves
}

// A digest sums up results. All contestants of a race must come to the same one,
// otherwise they did not do the same work.
type digest uint64

// inOrder takes the next result; the digest depends on the order.
func (d *digest) inOrder(v int) { *d = (*d ^ digest(v)) * 1099511628211 }

// anyOrder takes a result; the digest does not depend on the order.
func (d *digest) anyOrder(v int) { *d += digest(v)*0x9e3779b97f4a7c15 ^ 0x5bd1e995 }

// A column says how to read the numbers in it.
type column struct {
	name   string
	unit   string
	higher bool // more is better
	noRank bool // not compared: it is there to be looked at
}

// A race is work that contestants do in turn.
type race struct {
	name        string
	same        string   // races with the same one, if any, must come to the same digest
	items       int      // one call of work does so many
	columns     []column // what contestants measure themselves; nil means that the harness measures the time an item takes
	micro       bool     // the harness measures µs, not ns
	rounds      int      // 0 means as many as the run has; with 1 and columns there is no warm-up
	contestants []contestant
}

// A table is one or more races over work of one kind, with mostly the same contestants.
type table struct {
	id    string // names the chart and the reasons for what was lost
	title string
	about string
	races []race
	base  string // a contestant that the first one is compared with, beside the best peer
}

// A cell is what one contestant reached in one column.
type cell struct {
	median, min, max float64
	allocs           float64 // allocations an item; negative where they were not counted
}

// A row has the cells of a contestant, nil where it did not take part.
type row struct {
	contestant
	cells []*cell
}

// A result is a table that was run.
type result struct {
	table
	columns []column
	rows    []row
}

// A bench is one run of everything.
type bench struct {
	rounds  int               // measurements of each contestant in each race
	minTime time.Duration     // for one measurement: shorter work is repeated
	scale   float64           // of the amount of work
	until   time.Time         // what takes long is left out when it would go past this
	temp    string            // folder for databases and exports
	notes   []string          // what was left out, and why
	sums    map[string]digest // by what races have in same
	say     func(format string, args ...any)
}

// items scales the number of items of a race, but not below least.
func (b *bench) items(n, least int) int { return max(int(float64(n)*b.scale), least) }

// leftOut records what this run does not show.
func (b *bench) leftOut(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	b.notes = append(b.notes, note)
	b.say("  left out: %s", note)
}

// run runs the races of t one after the other.
func (b *bench) run(t table) (*result, error) {
	r := &result{table: t}
	for _, race := range t.races {
		b.say("  %s, %s", t.id, race.name)
		cells, err := b.race(race)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", t.id, race.name, err)
		}
		r.add(race, cells)
	}
	return r, nil
}

// add appends the columns of a race.
func (r *result) add(race race, cells [][]cell) {
	columns := race.columns
	if columns == nil {
		columns = []column{{name: race.name, unit: "ns"}}
		if race.micro {
			columns[0].unit = "µs"
		}
	}
	before := len(r.columns)
	r.columns = append(r.columns, columns...)
	for i, c := range race.contestants {
		at := slices.IndexFunc(r.rows, func(have row) bool { return have.name == c.name })
		if at < 0 {
			at = len(r.rows)
			r.rows = append(r.rows, row{contestant: c, cells: make([]*cell, before)})
		}
		for j := range cells[i] {
			r.rows[at].cells = append(r.rows[at].cells, &cells[i][j])
		}
	}
	for i := range r.rows {
		for len(r.rows[i].cells) < len(r.columns) {
			r.rows[i].cells = append(r.rows[i].cells, nil)
		}
	}
}

// race lets the contestants take turns, in another order each round, so that
// whatever else the machine does strikes all of them. It returns the cells of each.
func (b *bench) race(r race) ([][]cell, error) {
	rounds := r.rounds
	if rounds == 0 {
		rounds = b.rounds
	}
	first, err := b.warmUp(r)
	if err != nil {
		return nil, err
	}
	columns := max(len(r.columns), 1)
	values := make([][][]float64, len(r.contestants)) // by contestant, column and round
	allocs := make([][]float64, len(r.contestants))
	for i := range values {
		values[i] = make([][]float64, columns)
	}
	for range rounds {
		for _, i := range rand.Perm(len(r.contestants)) {
			m := measurement{first[i].values, -1}
			if rounds > 1 || r.columns == nil {
				if m, err = measure(r, i, first[i].repeat); err != nil {
					return nil, err
				}
			}
			for j := range columns {
				values[i][j] = append(values[i][j], m.values[j])
			}
			allocs[i] = append(allocs[i], m.allocs)
		}
	}
	cells := make([][]cell, len(r.contestants))
	for i := range cells {
		for j := range columns {
			c := cell{median(values[i][j]), slices.Min(values[i][j]), slices.Max(values[i][j]), median(allocs[i])}
			cells[i] = append(cells[i], c)
		}
	}
	return cells, nil
}

// A trial is what the first run of a contestant showed.
type trial struct {
	repeat int       // how often it has to do the work to be measured
	values []float64 // what it measured itself
}

// warmUp runs every contestant once, and checks that all come to the same digest.
func (b *bench) warmUp(r race) (trials []trial, err error) {
	var first digest
	for i, c := range r.contestants {
		start := time.Now()
		o, err := c.work()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		took := max(time.Since(start), time.Microsecond)
		if i == 0 {
			first = o.sum
		}
		if o.sum != first {
			return nil, fmt.Errorf("%s and %s did not do the same work: their digests are %x and %x", r.contestants[0].name, c.name, first, o.sum)
		}
		if len(o.values) != len(r.columns) {
			return nil, fmt.Errorf("%s measured %d columns of %d", c.name, len(o.values), len(r.columns))
		}
		n := 1
		if r.columns == nil {
			n = int(min(b.minTime/took+1, 1000))
		}
		trials = append(trials, trial{n, o.values})
	}
	if r.same != "" {
		if sum, known := b.sums[r.same]; known && sum != first {
			return nil, fmt.Errorf("%s did other work than the race before it: the digests are %x and %x", r.contestants[0].name, sum, first)
		}
		if b.sums == nil {
			b.sums = make(map[string]digest)
		}
		b.sums[r.same] = first
	}
	return trials, nil
}

// A measurement is one of a contestant's turns.
type measurement struct {
	values []float64
	allocs float64
}

// measure lets a contestant do its work so many times.
func measure(r race, i, repeat int) (measurement, error) {
	c := r.contestants[i]
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	var o outcome
	var err error
	for range repeat {
		if o, err = c.work(); err != nil {
			return measurement{}, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if r.columns != nil {
		return measurement{o.values, -1}, nil
	}
	items := float64(repeat * r.items)
	if r.micro {
		took /= 1000
	}
	return measurement{[]float64{float64(took) / items}, float64(after.Mallocs-before.Mallocs) / items}, nil
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
