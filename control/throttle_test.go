package control

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

// The timeline of the doc comment.
func TestThrottleTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{0, 1, nil}, event{s, 2, nil}, event{3 * s, 3, nil}, event{5 * s, 4, nil},
			event{8 * s, 5, nil}, event{9 * s, 6, nil})
		stage := Throttle(in, 3*s)
		for range 2 { // no period lives on into the second loop
			wantEvents(t, timeline(stage, 0), event{0, 1, nil}, event{3 * s, 3, nil}, event{8 * s, 5, nil})
		}
	})
}

// An error begins no period and is not held up by one. The body's time counts.
func TestThrottleErrorsAndSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{0, 0, errItem}, event{0, 1, nil}, event{s, 0, errItem}, event{s, 2, nil}, event{3 * s, 3, nil})
		wantEvents(t, timeline(Throttle(in, 3*s), 2*s),
			event{0, 0, errItem}, event{2 * s, 1, nil}, event{4 * s, 0, errItem}, event{6 * s, 2, nil})
	})
}

func ExampleThrottle() {
	// A minute has passed for none of these: only the first one is passed on.
	for n, err := range Throttle(seq.Of(1, 2, 3), time.Minute) {
		fmt.Println(n, err)
	}
	// Output: 1 <nil>
}
