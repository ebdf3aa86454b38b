package batch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"example.com/pipeline/batch"
	"example.com/pipeline/seq"
)

func ExampleSize() {
	for rows, err := range batch.Size(seq.Of("a", "b", "c", "d", "e"), 2) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rows)
	}
	// Output:
	// [a b]
	// [c d]
	// [e]
}

// A bulk insert wants many rows, and no row should wait for long.
func ExampleWindow() {
	ctx := context.Background()
	events := func(yield func(string, error) bool) {
		_ = yield("login", nil) && yield("search", nil) && yield("order", nil)
		time.Sleep(50 * time.Millisecond) // nothing comes for a while
		yield("logout", nil)
	}
	for rows, err := range batch.Window(ctx, events, 100, 10*time.Millisecond) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("insert", rows)
	}
	// Output:
	// insert [login search order]
	// insert [logout]
}

// An editor writes a file several times when it saves: build once it is quiet.
func ExampleDebounce() {
	ctx := context.Background()
	changes := func(yield func(string, error) bool) {
		_ = yield("main.go~", nil) && yield("main.go", nil)
		time.Sleep(50 * time.Millisecond)
		yield("go.mod", nil)
	}
	for files, err := range batch.Debounce(ctx, changes, 1000, 10*time.Millisecond) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("build after changes of", files)
	}
	// Output:
	// build after changes of [main.go~ main.go]
	// build after changes of [go.mod]
}

// A queue takes ten messages of 256 kB together, and an alarm should not wait for others.
func ExampleBatches() {
	ctx := context.Background()
	messages := seq.Of("a", strings.Repeat("b", 200_000), strings.Repeat("c", 100_000), "alarm", "d")
	limits := batch.Limits[string]{
		Items:  10,
		Weigh:  func(m string) int { return len(m) },
		Weight: 256_000,
		Last:   func(m string) bool { return m == "alarm" },
		Wait:   time.Second,
	}
	for send, err := range batch.Batches(ctx, messages, limits) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(send), "messages, the last one has", len(send[len(send)-1]), "bytes")
	}
	// Output:
	// 2 messages, the last one has 200000 bytes
	// 2 messages, the last one has 5 bytes
	// 1 messages, the last one has 1 bytes
}

func ExampleUniq() {
	batches := batch.Size(seq.Of(3, 1, 3, 2, 2, 3), 4)
	self := func(id int) int { return id }
	for ids, err := range seq.Map(batches, batch.Uniq(self)) {
		fmt.Println(ids, err)
	}
	// Output:
	// [3 1 2] <nil>
	// [2 3] <nil>
}

func ExampleDedup() {
	type message struct{ id, text string }
	in := seq.Of(message{"1", "hello"}, message{"2", "world"}, message{"1", "hello"})
	id := func(m message) string { return m.id }
	// Redelivered messages come within an hour, and no more than a million of them.
	cfg := batch.DedupConfig{Capacity: 1_000_000, TTL: time.Hour}
	for m, err := range batch.Dedup(in, id, cfg) {
		fmt.Println(m.text, err)
	}
	// Output:
	// hello <nil>
	// world <nil>
}

// users stands for a table: one query for many ids.
func users(_ context.Context, ids []int) (map[int]string, error) {
	fmt.Println("SELECT … WHERE id IN", ids)
	names := map[int]string{1: "Ann", 2: "Bob", 3: "Cid"}
	found := make(map[int]string)
	for _, id := range ids {
		if name, ok := names[id]; ok {
			found[id] = name
		}
	}
	return found, nil
}

// Workers load one by one; the loader asks for many at once. As many loads as
// there are workers fill a batch without waiting for its timer.
func ExampleLoader() {
	ctx := context.Background()
	const workers = 4
	square := func(_ context.Context, ids []int) (map[int]int, error) {
		found := make(map[int]int)
		for _, id := range ids {
			if id < 5 {
				found[id] = id * id
			}
		}
		return found, nil
	}
	loader := batch.NewLoader(ctx, square, batch.LoaderConfig{MaxBatch: workers, Capacity: 1000, TTL: time.Minute})
	ids := seq.Of(3, 4, 3, 3, 9, 4)
	for v, err := range seq.MapConcurrent(ctx, ids, workers, loader.Load) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(v)
	}
	stats := loader.Stats()
	fmt.Println(stats.Loads-stats.Keys, "of", stats.Loads, "requests saved")
	// Output:
	// 9
	// 16
	// 9
	// 9
	// item 9: batch: not found: key 9
	// 16
	// 3 of 6 requests saved
}

func ExampleNewLoader() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the loader
	loader := batch.NewLoader(ctx, users, batch.LoaderConfig{})
	fmt.Println(loader.Load(ctx, 2))
	// Output:
	// SELECT … WHERE id IN [2]
	// Bob <nil>
}

func ExampleLoader_LoadMany() {
	ctx := context.Background()
	loader := batch.NewLoader(ctx, users, batch.LoaderConfig{})
	names, err := loader.LoadMany(ctx, []int{3, 8, 1, 3})
	fmt.Println(names)
	fmt.Println(err)
	fmt.Println(errors.Is(err, batch.ErrNotFound))
	// Output:
	// SELECT … WHERE id IN [3 8 1]
	// map[1:Ann 3:Cid]
	// batch: 1 key failed: key 8: not found
	// true
}

// A fetch that knows which keys failed says so, and the others are served.
func ExampleKeyErrors() {
	ctx := context.Background()
	errLocked := errors.New("account is locked")
	fetch := func(_ context.Context, ids []int) (map[int]string, error) {
		names, failed := map[int]string{}, batch.KeyErrors[int]{}
		for _, id := range ids {
			if id == 2 {
				failed[id] = errLocked
			} else {
				names[id] = fmt.Sprint("user ", id)
			}
		}
		return names, failed
	}
	loader := batch.NewLoader(ctx, fetch, batch.LoaderConfig{})
	names, err := loader.LoadMany(ctx, []int{1, 2, 3})
	fmt.Println(names)
	if failed, ok := errors.AsType[batch.KeyErrors[int]](err); ok {
		fmt.Println(failed[2])
	}
	// Output:
	// map[1:user 1 3:user 3]
	// account is locked
}

// After a write, the loader is told the new value, or to forget the old one.
func ExampleLoader_Prime() {
	ctx := context.Background()
	loader := batch.NewLoader(ctx, users, batch.LoaderConfig{Capacity: 1000})
	loader.Prime(1, "Anna")
	fmt.Println(loader.Load(ctx, 1))
	loader.Clear(1)
	fmt.Println(loader.Load(ctx, 1))
	// Output:
	// Anna <nil>
	// SELECT … WHERE id IN [1]
	// Ann <nil>
}

func ExampleLookup() {
	ctx := context.Background()
	type order struct{ number, user int }
	in := seq.Of(order{100, 2}, order{101, 1}, order{102, 2}, order{103, 7})
	lines := batch.Lookup(ctx, in, 100, 10*time.Millisecond,
		func(o order) int { return o.user },
		users,
		func(o order, name string) (string, error) { return fmt.Sprint(o.number, " for ", name), nil })
	for line, err := range lines {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(line)
	}
	// Output:
	// SELECT … WHERE id IN [2 1 7]
	// 100 for Bob
	// 101 for Ann
	// 102 for Bob
	// item {103 7}: batch: not found: key 7
}

// One object waits for the results of several checks.
func ExampleJoin() {
	ctx := context.Background()
	type verdict struct{ file, text string }
	check := func(texts ...verdict) iter.Seq2[verdict, error] { return seq.Of(texts...) }
	lint := check(verdict{"a.go", "lint ok"}, verdict{"b.go", "lint failed"})
	test := check(verdict{"a.go", "test ok"})
	file := func(v verdict) string { return v.file }
	for g, err := range batch.Join(ctx, batch.JoinConfig{TTL: time.Minute}, file, lint, test) {
		if part, ok := seq.FailedItem[batch.Group[string, verdict]](err); ok {
			fmt.Println(part.Key, "is incomplete:", part.Items, "from", part.From)
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(g.Key, "is complete:", g.Items)
	}
	// Output:
	// a.go is complete: [{a.go lint ok} {a.go test ok}]
	// b.go is incomplete: [{b.go lint failed}] from [0]
}

// One object waits for the results of several pipelines: it is sent into all of them,
// and what comes out is gathered by its id.
func ExampleGather() {
	ctx := context.Background()
	type part struct {
		id   int
		text string
	}
	find := func(what string) seq.Stage[int, part] {
		return func(ids iter.Seq2[int, error]) iter.Seq2[part, error] {
			return seq.MapConcurrent(ctx, ids, 4, func(_ context.Context, id int) (part, error) {
				return part{id, fmt.Sprint(what, " of ", id)}, nil
			})
		}
	}
	parts := seq.Broadcast(ctx, seq.Of(1, 2, 3), find("price"), find("stock"))
	pages := batch.Gather(ctx, parts, batch.JoinConfig{TTL: time.Minute},
		func(p part) int { return p.id },
		func(page []part) bool { return len(page) == 2 })
	for page, err := range pages {
		if err != nil {
			fmt.Println(err) // incomplete: seq.FailedItem returns the parts that came
			continue
		}
		fmt.Println("page", page[0].id, "has", len(page), "parts")
	}
	// Unordered output:
	// page 1 has 2 parts
	// page 2 has 2 parts
	// page 3 has 2 parts
}

func ExampleJoin2() {
	ctx := context.Background()
	type order struct{ id, item string }
	type payment struct {
		order string
		cents int
	}
	orders := seq.Of(order{"o1", "book"}, order{"o2", "lamp"})
	payments := seq.Of(payment{"o1", 1250})
	pairs := batch.Join2(ctx, batch.JoinConfig{}, orders, payments,
		func(o order) string { return o.id },
		func(p payment) string { return p.order })
	for p, err := range pairs {
		if part, ok := seq.FailedItem[batch.Group[string, any]](err); ok {
			fmt.Println("no match for", part.Items[0])
			continue
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(p.Left.item, "paid with", p.Right.cents)
	}
	// Output:
	// book paid with 1250
	// no match for {o2 lamp}
}
