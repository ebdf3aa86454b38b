package batch_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"testing"
)

// seeds are those that a test draws its schedules by: so many, and others each time. Where
// PIPELINE_SEEDS is set, it says which: 0-9999 for many, 7-7 for the one that a test has
// failed at.
//
//	PIPELINE_SEEDS=0-9999 go test -run Schedules ./batch
func seeds(t *testing.T, n int) iter.Seq[uint64] {
	t.Helper()
	first, last := rand.Uint64N(1<<32), uint64(0)
	last = first + uint64(n) - 1
	if text := os.Getenv("PIPELINE_SEEDS"); text != "" {
		if _, err := fmt.Sscanf(text, "%d-%d", &first, &last); err != nil || last < first {
			t.Fatalf("PIPELINE_SEEDS must be like 0-9999, got %q", text)
		}
	}
	return func(yield func(uint64) bool) {
		for seed := first; seed <= last && yield(seed); seed++ {
		}
	}
}
