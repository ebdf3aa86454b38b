package seq_test

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"example.com/pipeline/seq"
)

// fetch stands for a function that waits for something.
func fetch(ctx context.Context, url string) (string, error) {
	if url == "/gone" {
		return "", errors.New("not found")
	}
	return "page " + url, nil
}

func ExampleMapConcurrent() {
	ctx := context.Background()
	urls := seq.Of("/a", "/gone", "/b")
	for page, err := range seq.MapConcurrent(ctx, urls, 8, fetch) {
		if err != nil {
			fmt.Println(err)
			continue // return would end everything
		}
		fmt.Println(page)
	}
	// Output:
	// page /a
	// item "/gone": not found
	// page /b
}

// An early end cancels what is under way, and waits for it.
func ExampleMapConcurrent_leave() {
	slow := func(ctx context.Context, n int) (int, error) {
		if n == 1 {
			return n, nil
		}
		<-ctx.Done() // would wait for ever
		return 0, ctx.Err()
	}
	for n, err := range seq.MapConcurrent(context.Background(), seq.Of(1, 2, 3), 3, slow) {
		fmt.Println(n, err)
		break
	}
	fmt.Println("all calls have returned")
	// Output:
	// 1 <nil>
	// all calls have returned
}

// A slow item holds nobody up.
func ExampleMapUnordered() {
	overtaken := make(chan struct{})
	slowFirst := func(_ context.Context, n int) (int, error) {
		if n == 1 {
			<-overtaken
		}
		return n, nil
	}
	for n, err := range seq.MapUnordered(context.Background(), seq.Of(1, 2), 2, slowFirst) {
		fmt.Println(n, err)
		if n == 2 {
			close(overtaken)
		}
	}
	// Output:
	// 2 <nil>
	// 1 <nil>
}

// With a window of 100 the calls go on for up to 100 items behind one slow item.
func ExampleWindow() {
	urls := seq.Of("/a", "/b")
	fmt.Println(seq.Collect(seq.MapConcurrent(context.Background(), urls, 8, fetch, seq.Window(100))))
	// Output: [page /a page /b] <nil>
}

func ExampleOption() {
	opts := []seq.Option{seq.Window(100)}
	urls := seq.Of("/a", "/b")
	fmt.Println(seq.Count(seq.MapUnordered(context.Background(), urls, 8, fetch, opts...)))
	// Output: 2 <nil>
}

func ExampleFlatMapUnordered() {
	// Each folder is a stream of its files; two folders are read at a time.
	files := func(ctx context.Context, folder string) iter.Seq2[string, error] {
		return seq.Of(folder+"/1", folder+"/2")
	}
	for file, err := range seq.FlatMapUnordered(context.Background(), seq.Of("a", "b", "c"), 2, files) {
		fmt.Println(file, err)
	}
	// Unordered output:
	// a/1 <nil>
	// a/2 <nil>
	// b/1 <nil>
	// b/2 <nil>
	// c/1 <nil>
	// c/2 <nil>
}

func ExampleForEachConcurrent() {
	remove := func(ctx context.Context, name string) error {
		if name == "b" {
			return errors.New("permission denied")
		}
		return nil
	}
	err := seq.ForEachConcurrent(context.Background(), seq.Of("a", "b", "c"), 4, remove)
	fmt.Println(err)
	// Output: item "b": permission denied
}

// While the body writes a page, the next one is already being read.
func ExampleBuffer() {
	pages := seq.Map(seq.Of(1, 2, 3), func(n int) (string, error) { return fmt.Sprint("page ", n), nil })
	for page, err := range seq.Buffer(context.Background(), pages, 1) {
		fmt.Println("write", page, err)
	}
	// Output:
	// write page 1 <nil>
	// write page 2 <nil>
	// write page 3 <nil>
}

func ExampleMerge() {
	mails := seq.Of("mail 1", "mail 2")
	calls := seq.Of("call 1")
	for event, err := range seq.Merge(context.Background(), mails, calls) {
		fmt.Println(event, err)
	}
	// Unordered output:
	// mail 1 <nil>
	// mail 2 <nil>
	// call 1 <nil>
}

// A source that is blocked holds up the end of its loop. Inside a Scope its context
// ends with the loop, and so does it.
func ExampleScope() {
	inbox := make(chan string, 1)
	inbox <- "hello" // and then nothing more

	greetings := seq.Scope(context.Background(), func(ctx context.Context) iter.Seq2[string, error] {
		messages := seq.FromChan(ctx, inbox)
		return seq.MapConcurrent(ctx, messages, 8, func(_ context.Context, s string) (string, error) {
			return s + ", world", nil
		})
	})
	for greeting, err := range greetings {
		fmt.Println(greeting, err)
		break
	}
	fmt.Println("the inbox is not watched any more")
	// Output:
	// hello, world <nil>
	// the inbox is not watched any more
}
