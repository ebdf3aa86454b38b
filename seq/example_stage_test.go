package seq_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"example.com/pipeline/seq"
)

func ExamplePipe() {
	trim := func(in iter.Seq2[string, error]) iter.Seq2[string, error] {
		return seq.Map(in, func(s string) (string, error) { return strings.TrimSpace(s), nil })
	}
	notEmpty := func(in iter.Seq2[string, error]) iter.Seq2[string, error] {
		return seq.Filter(in, func(s string) bool { return s != "" })
	}
	fmt.Println(seq.Collect(seq.Pipe(seq.Of(" a ", "  ", "b"), trim, notEmpty)))
	// Output: [a b] <nil>
}

func ExampleThen() {
	fields := func(in iter.Seq2[string, error]) iter.Seq2[[]string, error] {
		return seq.Map(in, func(s string) ([]string, error) { return strings.Fields(s), nil })
	}
	words := seq.Then(fields, seq.Flatten[string])
	fmt.Println(seq.Collect(words(seq.Of("a b", "c"))))
	// Output: [a b c] <nil>
}

func ExampleStage() {
	var firstTwo seq.Stage[int, int] = func(in iter.Seq2[int, error]) iter.Seq2[int, error] {
		return seq.Take(in, 2)
	}
	fmt.Println(seq.Collect(firstTwo(seq.Of(1, 2, 3))))
	// Output: [1 2] <nil>
}

// A source of one's own that works in a goroutine of its own: whatever way the
// loop is left, the goroutine has ended then.
func ExampleGo() {
	numbers := func(ctx context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			work, cancel := context.WithCancel(ctx)
			results := make(chan int)
			task := seq.Go(ctx, func() {
				for i := 0; ; i++ {
					select {
					case results <- i:
					case <-work.Done():
						return
					}
				}
			})
			defer task.Join()
			defer cancel() // runs first: the goroutine is told to end, then joined
			for {
				select {
				case v := <-results:
					if !yield(v, nil) {
						return
					}
				case <-task.Done(): // ended by itself: it panicked, or ctx has ended
					if err := seq.ContextError(ctx); err != nil {
						yield(0, err)
					}
					return
				}
			}
		}
	}
	fmt.Println(seq.Collect(seq.Take(numbers(context.Background()), 3)))
	// Output: [0 1 2] <nil>
}

func ExampleTask() {
	task := seq.Go(context.Background(), func() { panic("broken") })
	defer func() {
		err := recover().(*seq.PanicError)
		fmt.Println("joined:", err.Value)
	}()
	task.Join()
	// Output: joined: broken
}

func ExampleTask_Join() {
	sum := 0
	task := seq.Go(context.Background(), func() { sum = 1 + 2 })
	task.Join()
	fmt.Println(sum)
	// Output: 3
}

func ExampleTask_Wait() {
	task := seq.Go(context.Background(), func() { panic("kept to itself") })
	task.Wait()
	fmt.Println("it has ended")
	// Output: it has ended
}

func ExampleTask_Done() {
	task := seq.Go(context.Background(), func() {})
	<-task.Done()
	fmt.Println("it has ended")
	// Output: it has ended
}

func ExampleContextError() {
	ctx, cancel := context.WithCancelCause(context.Background())
	errSignal := errors.New("got SIGTERM")
	cancel(errSignal)
	err := seq.ContextError(ctx)
	fmt.Println(err)
	fmt.Println(errors.Is(err, context.Canceled), errors.Is(err, errSignal))
	// Output:
	// context canceled: got SIGTERM
	// true true
}

func ExampleIsItemError() {
	failed := &seq.ItemError{Item: 7, Err: errors.New("not found")}
	fmt.Println(seq.IsItemError(fmt.Errorf("loading: %w", failed)))
	fmt.Println(seq.IsItemError(errors.Join(failed)))
	fmt.Println(seq.IsItemError(errors.New("connection lost")))
	// Output:
	// true
	// false
	// false
}

func ExampleFailedItem() {
	err := fmt.Errorf("loading: %w", &seq.ItemError{Item: 7, Err: errors.New("not found")})
	id, ok := seq.FailedItem[int](err)
	fmt.Println(id, ok)
	// Output: 7 true
}

func ExampleItemError() {
	err := &seq.ItemError{Item: "a.txt", Err: errors.New("not found")}
	fmt.Println(err)
	// Output: item "a.txt": not found
}

func ExamplePanicError() {
	defer func() {
		err := recover().(*seq.PanicError)
		fmt.Println(err.Value, len(err.Stack) > 0)
	}()
	seq.Go(context.Background(), func() { panic("in another goroutine") }).Join()
	// Output: in another goroutine true
}
