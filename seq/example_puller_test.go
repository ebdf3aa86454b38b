package seq_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/pipeline/seq"
)

func ExamplePull() {
	ctx := context.Background()
	p := seq.Pull(seq.Of("a", "b"), 0)
	defer p.Stop()
	for {
		v, err, ok := p.Next(ctx)
		if !ok {
			break
		}
		fmt.Println(v, err)
	}
	// Output:
	// a <nil>
	// b <nil>
}

// Two streams, a step of each in turn: what a range loop cannot do.
func ExamplePuller() {
	ctx := context.Background()
	a, b := seq.Pull(seq.Of(1, 3, 5), 1), seq.Pull(seq.Of(2, 4, 6), 1)
	defer a.Stop()
	defer b.Stop()
	for range 3 {
		x, _, _ := a.Next(ctx)
		y, _, _ := b.Next(ctx)
		fmt.Println(x, y)
	}
	// Output:
	// 1 2
	// 3 4
	// 5 6
}

// Who has no more patience stops waiting, and loses nothing by it.
func ExamplePuller_Next() {
	inbox := make(chan string)
	p := seq.Pull(seq.FromChan(context.Background(), inbox), 0)
	defer p.Stop()
	defer close(inbox) // lets the source end; runs before Stop

	impatient, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err, ok := p.Next(impatient)
	fmt.Println(errors.Is(err, context.DeadlineExceeded), ok)

	inbox <- "late, but there"
	fmt.Println(p.Next(context.Background()))
	// Output:
	// true true
	// late, but there <nil> true
}

func ExamplePuller_Stop() {
	p := seq.Pull(seq.Of(1, 2, 3), 2)
	fmt.Println(p.Next(context.Background()))
	p.Stop() // the source has ended now
	fmt.Println(p.Next(context.Background()))
	// Output:
	// 1 <nil> true
	// 0 <nil> false
}
