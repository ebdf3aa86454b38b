package cursor_test

import (
	"context"
	"errors"
	"fmt"

	"example.com/pipeline/cursor"
)

// events is an API that lists events after an id.
func events(_ context.Context, after *int, limit int) ([]string, error) {
	first := 1
	if after != nil {
		first = *after + 1
	}
	var page []string
	for id := first; id <= 5 && len(page) < limit; id++ {
		page = append(page, fmt.Sprintf("event %d", id))
	}
	return page, nil
}

func ExamplePages() {
	ctx := context.Background()
	id := func(event string) (n int) {
		fmt.Sscanf(event, "event %d", &n)
		return n
	}
	after := 2 // where the last run was
	for event, err := range cursor.Pages(ctx, &after, events, id, cursor.PageConfig{Size: 2, Prefetch: 0.5}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event)
	}
	// Output:
	// event 3
	// event 4
	// event 5
}

// A page that ends where it was to begin would be asked for again and again.
func ExamplePages_stalled() {
	forgetful := func(context.Context, *int, int) ([]int, error) { return []int{1, 2}, nil } // it does not look at after
	for n, err := range cursor.Pages(context.Background(), nil, forgetful, self, cursor.PageConfig{Size: 2}) {
		fmt.Println(n, errors.Is(err, cursor.ErrStalled))
	}
	// Output:
	// 1 false
	// 2 false
	// 0 true
}

func ExampleTokens() {
	type page struct {
		users []string
		next  string
	}
	api := map[string]page{"": {[]string{"ada", "grace"}, "p2"}, "p2": {[]string{"edsger"}, ""}}
	list := func(_ context.Context, token string) ([]string, string, error) {
		return api[token].users, api[token].next, nil
	}
	for user, err := range cursor.Tokens(context.Background(), &cursor.Token{Page: "", Index: 0}, list) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %+v\n", user.Item, user.At)
	}
	// Output:
	// grace {Page: Index:1}
	// edsger {Page:p2 Index:0}
}
