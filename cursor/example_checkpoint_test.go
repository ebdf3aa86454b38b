package cursor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A run that is broken off and resumed writes every line once.
func ExampleTrack() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := cursor.NewFileStore(filepath.Join(dir, "state"))
	if err != nil {
		panic(err)
	}

	export := func(breakAt int) error {
		out, err := cursor.OpenFile(filepath.Join(dir, "numbers.txt"))
		if err != nil {
			return err
		}
		defer out.Close()
		job, err := cursor.Open[int](ctx, store, "numbers", cursor.Attach("out", out))
		if err != nil {
			return err
		}
		defer job.Close()

		first := 1
		if pos := job.Position(); pos != nil {
			first = *pos + 1
		}
		fmt.Println("begins with", first)
		var rest []int
		for n := first; n <= 5; n++ {
			rest = append(rest, n)
		}
		position := func(n int) int { return n }
		for n, err := range cursor.Track(ctx, seq.Of(rest...), job, cursor.Every{Items: 2}, position) {
			if err != nil {
				return err
			}
			fmt.Fprintln(out, "number", n)
			if n == breakAt {
				return errors.New("interrupted") // n is in hand: it comes again
			}
		}
		return job.Finish(ctx)
	}

	fmt.Println(export(4))
	fmt.Println(export(0))
	text, err := os.ReadFile(filepath.Join(dir, "numbers.txt"))
	fmt.Print(string(text), err)
	// Output:
	// begins with 1
	// interrupted
	// begins with 4
	// <nil>
	// number 1
	// number 2
	// number 3
	// number 4
	// number 5
	// <nil>
}

// Without Track, a program commits when a piece of work is done.
func ExampleOpen() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	job, err := cursor.Open[string](ctx, store, "letters", cursor.WithFingerprint("letters, ascending"))
	if err != nil {
		panic(err)
	}
	defer job.Close()
	for _, letter := range []string{"a", "b"} {
		job.AddItems(1)
		if err := job.Commit(ctx, letter); err != nil {
			panic(err)
		}
	}
	fmt.Println(*job.Position(), job.Items(), job.Finished())

	_, err = cursor.Open[string](ctx, store, "letters")
	fmt.Println(errors.Is(err, cursor.ErrLocked))
	// Output:
	// b 2 false
	// true
}

// A checkpoint of another query is refused, unless it is discarded.
func ExampleDiscard() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	open := func(opts ...cursor.OpenOption) {
		job, err := cursor.Open[int](ctx, store, "job", opts...)
		if err != nil {
			fmt.Println(errors.Is(err, cursor.ErrMismatch))
			return
		}
		defer job.Close()
		fmt.Println("begins afresh:", job.Position() == nil)
		if err := job.Commit(ctx, 1); err != nil {
			panic(err)
		}
	}
	open(cursor.WithFingerprint("one query"))
	open(cursor.WithFingerprint("another query"))
	open(cursor.WithFingerprint("another query"), cursor.Discard())
	// Output:
	// begins afresh: true
	// true
	// begins afresh: true
}

// A bound is kept with the job: a resumed run ends where the first would have.
func ExampleCheckpoint_Until() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	for _, latest := range []int{100, 250} { // the table grows between the two runs
		job, err := cursor.Open[int](ctx, store, "job")
		if err != nil {
			panic(err)
		}
		until, err := job.Until(ctx, func(context.Context) (*int, error) { return &latest, nil })
		fmt.Println(*until, err)
		job.Close()
	}
	// Output:
	// 100 <nil>
	// 100 <nil>
}

func ExampleCheckpoint_Reset() {
	ctx := context.Background()
	job, err := cursor.Open[int](ctx, cursor.NewMemStore(), "job")
	if err != nil {
		panic(err)
	}
	defer job.Close()
	fmt.Println(job.Commit(ctx, 7), job.Finish(ctx), job.Finished())
	fmt.Println(job.Reset(ctx), job.Finished(), job.Position())
	// Output:
	// <nil> <nil> true
	// <nil> false <nil>
}

// Each commit ends a gzip member; readers see one file.
func ExampleGzip() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	out, err := cursor.OpenFile(filepath.Join(dir, "out.gz"), cursor.Gzip())
	if err != nil {
		panic(err)
	}
	defer out.Close()
	job, err := cursor.Open[int](ctx, cursor.NewMemStore(), "job", cursor.Attach("out", out))
	if err != nil {
		panic(err)
	}
	defer job.Close()
	fmt.Fprintln(out, "a line")
	fmt.Println(job.Commit(ctx, 1))
	// Output: <nil>
}

// A sum is a participant: it is saved with the position, and put back with it.
type sum struct{ total, marked int }

func (s *sum) Mark()                                         { s.marked = s.total }
func (s *sum) Sync(context.Context) (json.RawMessage, error) { return json.Marshal(s.marked) }
func (s *sum) Restore(_ context.Context, state json.RawMessage) error {
	*s = sum{}
	if state == nil {
		return nil
	}
	err := json.Unmarshal(state, &s.total)
	s.marked = s.total
	return err
}

func ExampleParticipant() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	position := func(n int) int { return n }
	for _, part := range [][]int{{1, 2, 3}, {4, 5}} {
		s := &sum{}
		job, err := cursor.Open[int](ctx, store, "sum", cursor.Attach("sum", s))
		if err != nil {
			panic(err)
		}
		for n, err := range cursor.Track(ctx, seq.Of(part...), job, cursor.Every{}, position) {
			if err != nil {
				panic(err)
			}
			s.total += n
		}
		fmt.Println(s.total, job.Items(), job.Close())
	}
	// Output:
	// 6 3 <nil>
	// 15 5 <nil>
}

func ExampleCheckJob() {
	fmt.Println(cursor.CheckJob("orders/2024"))
	fmt.Println(cursor.CheckJob(""))
	// Output:
	// <nil>
	// cursor: the job's name must not be empty
}

// Another process, such as a status page, looks at what the jobs of a store have come to.
func ExampleInspect() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	job, err := cursor.Open[int](ctx, store, "export orders")
	if err != nil {
		log.Fatal(err)
	}
	defer job.Close()
	job.AddItems(42)
	if err := job.Commit(ctx, 1042); err != nil {
		log.Fatal(err)
	}

	jobs, err := cursor.Jobs(ctx, store)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range jobs {
		record, err := cursor.Inspect(ctx, store, name)
		if err != nil {
			log.Fatal(err)
		}
		holder, err := cursor.Holder(ctx, store, name)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d items, at %s, finished: %t\n", name, record.Items, record.Position, record.Finished)
		if holder != nil {
			fmt.Println("in the hands of", holder.Holder)
		}
	}
	// Output:
	// export orders: 42 items, at 1042, finished: false
	// in the hands of another runner of this process
}

// A job whose runner was killed is locked until its lease ends, in package sqlstore. Whoever
// starts the program again waits for that, and is told why.
func ExampleWaitFor() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	first, err := cursor.Open[int](ctx, store, "job")
	if err != nil {
		panic(err)
	}
	second, err := cursor.Open[int](ctx, store, "job", cursor.WaitFor(time.Minute, func(held *cursor.LockedError) {
		fmt.Println("waiting for", held.Holder)
		if !held.Until.IsZero() {
			fmt.Println("if it is dead, the job is free at", held.Until)
		}
		first.Close() // as the other one does some time
	}))
	if err != nil {
		panic(err)
	}
	defer second.Close()
	fmt.Println("it is ours")
	// Output:
	// waiting for another runner of this process
	// it is ours
}
