package main

import (
	"slices"
	"strconv"
	"time"
)

// latencyPart measures single items instead of many: how long one takes at half
// load and when it comes alone, and what one slow item does to those behind it.
func (b *bench) latencyPart() ([]*result, error) {
	half, err := b.run(b.halfLoad())
	if err != nil {
		return nil, err
	}
	slow, err := b.run(b.headOfLine())
	if err != nil {
		return nil, err
	}
	return []*result{half, slow}, nil
}

// streaming are the maps that give results while the source goes on; those of
// slices give all of them at the end.
func streaming[U any]() []mapper[U] {
	return slices.DeleteFunc(orderedMaps[U](), func(m mapper[U]) bool {
		return m.name == "errgroup into a slice" || m.name == "conc iter.Map of a slice"
	})
}

func (b *bench) halfLoad() table {
	const workers = 8
	loads := []struct {
		name  string
		items int
		every time.Duration
		fn    func(int) (int, error)
	}{
		{"half load", b.items(2000, 40), 1100 * time.Microsecond * 2 / workers, millisecondWork},
		{"a lone item", b.items(150, 10), 2 * time.Millisecond, trivialWork},
	}
	t := table{
		id:    "latency",
		title: "Latency of an item through an ordered map of 8 workers",
		about: "Time from when the source has an item until the loop has its result. half load: items come at half the rate that 8 workers can do at 1 ms of waiting each. " +
			"a lone item: one every 2 ms, trivial work. What is due while a stage holds the source up counts from when it was due.",
	}
	for _, load := range loads {
		r := race{name: load.name, items: load.items}
		for _, p := range []string{"p50", "p99"} {
			r.columns = append(r.columns, column{name: load.name + ", " + p, unit: "µs"})
		}
		for _, m := range streaming[int]() {
			r.contestants = append(r.contestants, contestant{m.name, m.module, m.role, func() (o outcome, err error) {
				arrived := make([]time.Time, load.items)
				took := make([]float64, 0, load.items)
				err = m.run(workers, arrivals(load.items, load.every, arrived), load.fn, func(v int) {
					o.sum.inOrder(v)
					took = append(took, float64(time.Since(arrived[len(took)]))/1e3)
				})
				if err == nil {
					slices.Sort(took)
					o.values = []float64{quantile(took, 0.5), quantile(took, 0.99)}
				}
				return o, err
			}})
		}
		t.races = append(t.races, r)
	}
	return t
}

// arrivals yields 0 to n-1 on a schedule, and notes when each came. An item whose
// time passes while the timer sleeps comes when that wakes up; one whose time passes
// while the stage holds the source up came when it was due.
func arrivals(n int, every time.Duration, arrived []time.Time) source {
	return func(yield func(int, error) bool) {
		start := time.Now()
		woke := start
		for i := range n {
			due := start.Add(time.Duration(i) * every)
			if d := time.Until(due); d > 0 {
				time.Sleep(d)
				woke = time.Now()
			}
			if arrived[i] = due; woke.After(due) {
				arrived[i] = woke
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

// quantile returns the q-quantile of what is sorted.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

const slowPayload = 4 << 10 // bytes of a result

// slowWork takes 1 µs, and ten times as long for every tenth item; its results are large.
func slowWork(v int) ([]byte, error) {
	rounds := roundsPerMicrosecond()
	if v%10 == 0 {
		rounds *= 10
	}
	p := make([]byte, slowPayload)
	return strconv.AppendInt(p[:0], int64(spin(v, rounds)), 10), nil
}

// slowCall takes 1 ms of waiting, and ten times as long for every tenth item.
func slowCall(v int) ([]byte, error) {
	if v%10 == 0 {
		time.Sleep(9 * time.Millisecond)
	}
	time.Sleep(time.Millisecond)
	p := make([]byte, slowPayload)
	return strconv.AppendInt(p[:0], int64(v), 10), nil
}

func takeLarge(d *digest, p []byte) {
	v, _ := strconv.Atoi(string(p))
	d.inOrder(v)
}

// headOfLine counts how much is held behind a slow item, and asks a process of its
// own for the memory that takes.
func (b *bench) headOfLine() table {
	const workers = 8
	t := table{
		id:    "head-of-line",
		title: "Every tenth item takes ten times as long: ordered map, 8 workers",
		about: "computing: 1 or 10 µs; waiting: 1 or 10 ms; ns or µs an item. held: items pulled from the source and not yet given to the loop, at most, while computing. " +
			"memory: peak resident memory of a process of its own that does the computing for 50,000 results of 4 kB. " +
			"A larger window keeps the workers busy behind a slow item, and holds that many more results.",
	}
	computing := race{name: "computing", items: b.items(10_000, 200)}
	waiting := race{name: "waiting", items: b.items(300, 20), micro: true}
	memory := race{name: "memory", items: b.items(50_000, 200), rounds: 1, columns: []column{
		{name: "held", unit: "items", noRank: true},
		{name: "memory", unit: "MB", noRank: true},
	}}
	for _, m := range orderedMaps[[]byte]() {
		computing.contestants = append(computing.contestants, m.contestant(workers, computing.items, slowWork, takeLarge))
		waiting.contestants = append(waiting.contestants, m.contestant(workers, waiting.items, slowCall, takeLarge))
		memory.contestants = append(memory.contestants, contestant{m.name, m.module, m.role, func() (outcome, error) {
			a, err := b.child(task{Kind: "map", Contender: m.name, Rows: memory.items})
			return outcome{a.Sum, []float64{a.Value, a.PeakMB}}, err
		}})
	}
	t.races = []race{computing, waiting, memory}
	return t
}

// mapInChild is the memory race's work, done in a process of its own. Value is
// the largest number of items held.
func mapInChild(t task) (answer, error) {
	for _, m := range orderedMaps[[]byte]() {
		if m.name != t.Contender {
			continue
		}
		var a answer
		pulled, given := newCounter(t.Rows), 0
		err := m.run(8, pulled.count, slowWork, func(p []byte) {
			held := pulled.n.Load() - int64(given)
			a.Value = max(a.Value, float64(held))
			given++
			takeLarge(&a.Sum, p)
		})
		return a, err
	}
	return answer{}, unknownContender(t)
}
