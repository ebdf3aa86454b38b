package control

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	if got := Constant(time.Second)(100); got != time.Second {
		t.Errorf("Constant: %v", got)
	}
	tests := []struct {
		first, max time.Duration
		attempt    int
		want       time.Duration
	}{
		{100, 1000, 0, 100},
		{100, 1000, 1, 100},
		{100, 1000, 2, 200},
		{100, 1000, 4, 800},
		{100, 1000, 5, 1000},
		{100, 1000, math.MaxInt, 1000},
		{100, 100, 7, 100},
		{1, math.MaxInt64, 63, 1 << 62},
		{1, math.MaxInt64, 64, math.MaxInt64},
		{3, math.MaxInt64, math.MaxInt, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64, 2, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := bound(tt.first, tt.max, tt.attempt); got != tt.want {
			t.Errorf("bound(%d, %d, %d) = %d, want %d", tt.first, tt.max, tt.attempt, got, tt.want)
		}
	}
}

func TestExponentialHasFullJitter(t *testing.T) {
	sleep := Exponential(1000, 8000)
	for attempt := 1; attempt < 6; attempt++ {
		most := bound(1000, 8000, attempt)
		var sum, low, high time.Duration
		low = most
		const n = 10_000
		for range n {
			d := sleep(attempt)
			if d < 0 || d > most {
				t.Fatalf("attempt %d sleeps for %d, want 0 to %d", attempt, d, most)
			}
			sum, low, high = sum+d, min(low, d), max(high, d)
		}
		mean := float64(sum) / n / float64(most)
		if mean < 0.47 || mean > 0.53 || low > most/50 || high < most-most/50 {
			t.Errorf("attempt %d: mean %.2f of %d, from %d to %d", attempt, mean, most, low, high)
		}
	}
	if d := Exponential(math.MaxInt64, math.MaxInt64)(9); d < 0 {
		t.Errorf("overflow: %d", d)
	}
}

func ExampleConstant() {
	backoff := Constant(time.Second)
	fmt.Println(backoff(1), backoff(2), backoff(3))
	// Output: 1s 1s 1s
}

func ExampleExponential() {
	backoff := Exponential(100*time.Millisecond, 10*time.Second)
	for attempt := range 20 {
		if d := backoff(attempt + 1); d < 0 || d > 10*time.Second {
			fmt.Println(d)
		}
	}
	fmt.Println(backoff(1) <= 100*time.Millisecond, backoff(2) <= 200*time.Millisecond)
	// Output: true true
}
