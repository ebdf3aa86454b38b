package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLRU runs random operations against a map and a slice in order of use.
func TestLRU(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		table := newLRU[int, string](r.IntN(50))
		values := map[int]string{}
		var order []int // oldest first, of those in the list
		leave := func(k int) { order = slices.DeleteFunc(order, func(x int) bool { return x == k }) }
		for step := range 2000 {
			k := r.IntN(100)
			hash := table.hash(k)
			i := table.find(hash, k)
			if _, want := values[k]; (i != 0) != want {
				t.Fatalf("seed %d, step %d: key %d found: %v, want %v", seed, step, k, i != 0, want)
			}
			if i != 0 && (table.entries[i].key != k || table.entries[i].value != values[k]) {
				t.Fatalf("seed %d, step %d: entry %d is %v, want key %d and value %s", seed, step, i, table.entries[i], k, values[k])
			}
			switch what := r.IntN(5); {
			case i == 0 && what < 3:
				i = table.add(hash, k)
				values[k] = fmt.Sprint(step)
				table.entries[i].value = values[k]
			case i == 0:
			case what == 0:
				table.remove(i)
				delete(values, k)
				leave(k)
			case what == 1:
				table.pin(i)
				leave(k)
			default:
				table.use(i)
				leave(k)
				order = append(order, k)
			}
			if table.linked != len(order) {
				t.Fatalf("seed %d, step %d: %d in the list, want %d", seed, step, table.linked, len(order))
			}
		}
		for _, k := range order {
			i := table.oldest()
			if got := table.entries[i].key; got != k {
				t.Fatalf("seed %d: oldest is %d, want %d of %v", seed, got, k, order)
			}
			table.remove(i)
		}
		if i := table.oldest(); i != 0 {
			t.Fatalf("seed %d: oldest of none is entry %d", seed, i)
		}
	}
}

// Keys that are not equal to themselves are never found, but can be removed.
func TestLRUOfNaN(t *testing.T) {
	table := newLRU[float64, int](4)
	nan := math.NaN()
	for range 1000 {
		hash := table.hash(nan)
		if i := table.find(hash, nan); i != 0 {
			t.Fatalf("found a NaN: entry %d", i)
		}
		if table.linked == 4 {
			table.remove(table.oldest())
		}
		table.use(table.add(hash, nan))
	}
	if len(table.entries) != 5 {
		t.Errorf("%d entries for 4 keys", len(table.entries)-1)
	}
}

// A full table takes a new key for its oldest without an allocation.
func TestLRUKeepsItsMemory(t *testing.T) {
	const limit = 10_000
	table := newLRU[int, struct{}](limit)
	next := 0
	add := func() {
		if table.linked == limit {
			table.remove(table.oldest())
		}
		table.use(table.add(table.hash(next), next))
		next++
	}
	for range limit {
		add()
	}
	if len(table.entries) != limit+1 || cap(table.entries) != limit+1 {
		t.Errorf("%d entries with room for %d, want %d with no room left", len(table.entries), cap(table.entries), limit+1)
	}
	if n := testing.AllocsPerRun(10*limit, add); n != 0 {
		t.Errorf("%v allocations a key, want none", n)
	}
}
