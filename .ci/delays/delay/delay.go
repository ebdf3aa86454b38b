// Package delay lets others run, at random.
package delay

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
)

// rate is of how many steps one takes long; ten times as many let others run once.
var rate = func() int {
	n, err := strconv.Atoi(os.Getenv("DELAYS"))
	if err != nil || n <= 0 {
		panic("DELAYS must be a positive number")
	}
	return n
}()

// Here is called before and after each step.
func Here() {
	times := 0
	switch n := rand.IntN(rate); {
	case n == 0:
		times = 300
	case n <= 10:
		times = 1
	}
	for range times {
		runtime.Gosched()
	}
}
