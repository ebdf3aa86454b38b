package cursor_test

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A message is of one of several sources, each of which counts its own.
type message struct {
	from string
	n    int
}

// Places say how far each source is: one field for each.
type places struct{ Orders, Clicks int }

// An arrival is a message with how far all sources are when it has been consumed.
type arrival struct {
	message
	at places
}

// arrive follows the message through the sources.
func arrive(last arrival, m message) arrival {
	at := last.at
	switch m.from {
	case "orders":
		at.Orders = m.n
	case "clicks":
		at.Clicks = m.n
	}
	return arrival{m, at}
}

// messages are those of one source behind the position after.
func messages(from string, after, last int) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for n := after + 1; n <= last && yield(message{from, n}, nil); n++ {
		}
	}
}

// Two sources are merged under one checkpoint, whose position is a struct with a field
// for each. Each source keeps its own order through Merge, so the last message of it says
// how far it is; Scan carries that along, which has no state but that of its loop. However
// the sources mix, each of them goes on where it was.
func ExampleTrack_merged() {
	ctx := context.Background()
	store := cursor.NewMemStore()
	var got []string
	run := func(most int) error {
		job, err := cursor.Open[places](ctx, store, "messages")
		if err != nil {
			return err
		}
		defer job.Close()
		var at places
		if p := job.Position(); p != nil {
			at = *p
		}
		merged := seq.Merge(ctx, messages("orders", at.Orders, 4), messages("clicks", at.Clicks, 3))
		arrivals := seq.Scan(merged, arrival{at: at}, arrive)
		for a, err := range cursor.Track(ctx, arrivals, job, cursor.Every{}, func(a arrival) places { return a.at }) {
			if err != nil {
				return err
			}
			if most--; most < 0 {
				return nil // a is not consumed: it comes again
			}
			got = append(got, fmt.Sprint(a.from, " ", a.n))
		}
		return job.Finish(ctx)
	}
	for range 3 {
		if err := run(3); err != nil {
			fmt.Println(err)
		}
	}
	slices.Sort(got)
	for _, m := range got {
		fmt.Println(m)
	}
	// Output:
	// clicks 1
	// clicks 2
	// clicks 3
	// orders 1
	// orders 2
	// orders 3
	// orders 4
}
