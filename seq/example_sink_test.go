package seq_test

import (
	"errors"
	"fmt"
	"strconv"

	"example.com/pipeline/seq"
)

func ExampleCollect() {
	numbers, err := seq.Collect(seq.Map(seq.Of("1", "2", "x", "4"), strconv.Atoi))
	fmt.Println(numbers)
	fmt.Println(err)
	// Output:
	// [1 2]
	// item "x": strconv.Atoi: parsing "x": invalid syntax
}

func ExampleCollectAll() {
	numbers, err := seq.CollectAll(seq.Map(seq.Of("1", "x", "3", "y"), strconv.Atoi))
	fmt.Println(numbers)
	fmt.Println(err)
	// Output:
	// [1 3]
	// item "x": strconv.Atoi: parsing "x": invalid syntax
	// item "y": strconv.Atoi: parsing "y": invalid syntax
}

func ExampleForEach() {
	err := seq.ForEach(seq.Of("a", "b", "c"), func(name string) error {
		if name == "b" {
			return errors.New("disk full")
		}
		fmt.Println("saved", name)
		return nil
	})
	fmt.Println(err)
	// Output:
	// saved a
	// item "b": disk full
}

func ExampleReduce() {
	product, err := seq.Reduce(seq.Of(2, 0, 5), 1, func(product, n int) (int, error) {
		if n == 0 {
			return 0, seq.ErrSkip
		}
		return product * n, nil
	})
	fmt.Println(product, err)
	// Output: 10 <nil>
}

func ExampleFirst() {
	fmt.Println(seq.First(seq.Of("a", "b")))
	fmt.Println(seq.First(seq.Of[int]()))
	// Output:
	// a true <nil>
	// 0 false <nil>
}

func ExampleCount() {
	fmt.Println(seq.Count(seq.Of("a", "b")))
	// Output: 2 <nil>
}

func ExampleDrain() {
	printed := seq.Tap(seq.Of(1, 2), func(n int, _ error) { fmt.Println(n) })
	fmt.Println(seq.Drain(printed))
	// Output:
	// 1
	// 2
	// <nil>
}
