package seq_test

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"example.com/pipeline/seq"
)

// The loop's body decides what an item's failure means: here it goes on.
func ExampleMap() {
	for n, err := range seq.Map(seq.Of("1", "two", "3"), strconv.Atoi) {
		if err != nil {
			failed, _ := seq.FailedItem[string](err)
			fmt.Printf("%q is no number\n", failed)
			continue
		}
		fmt.Println(n)
	}
	// Output:
	// 1
	// "two" is no number
	// 3
}

func ExampleFilter() {
	even := seq.Filter(seq.Of(1, 2, 3, 4), func(n int) bool { return n%2 == 0 })
	fmt.Println(seq.Collect(even))
	// Output: [2 4] <nil>
}

func ExampleFlatMap() {
	files := seq.Of("a b", "c")
	words := seq.FlatMap(files, func(text string) iter.Seq2[string, error] {
		return seq.From(strings.FieldsSeq(text))
	})
	fmt.Println(seq.Collect(words))
	// Output: [a b c] <nil>
}

func ExampleFlatten() {
	pages := seq.Of([]int{1, 2}, nil, []int{3})
	fmt.Println(seq.Collect(seq.Flatten(pages)))
	// Output: [1 2 3] <nil>
}

// Take pulls no more than it yields.
func ExampleTake() {
	source := seq.Tap(seq.Of(1, 2, 3), func(n int, _ error) { fmt.Println("pulled", n) })
	fmt.Println(seq.Collect(seq.Take(source, 2)))
	// Output:
	// pulled 1
	// pulled 2
	// [1 2] <nil>
}

func ExampleSkip() {
	fmt.Println(seq.Collect(seq.Skip(seq.Of("header", "a", "b"), 1)))
	// Output: [a b] <nil>
}

func ExampleTakeWhile() {
	small := seq.TakeWhile(seq.Of(1, 2, 30, 4), func(n int) bool { return n < 10 })
	fmt.Println(seq.Collect(small))
	// Output: [1 2] <nil>
}

// A file whose comments at its head are of no interest; those further down are.
func ExampleSkipWhile() {
	lines := seq.Of("# made by hand", "# do not edit", "a", "# b", "c")
	body := seq.SkipWhile(lines, func(line string) bool { return strings.HasPrefix(line, "#") })
	fmt.Println(seq.Collect(body))
	// Output: [a # b c] <nil>
}

func ExampleScan() {
	sums := seq.Scan(seq.Of(1, 2, 3), 0, func(sum, n int) int { return sum + n })
	fmt.Println(seq.Collect(sums))
	// Output: [1 3 6] <nil>
}

func ExampleTap() {
	seen := 0
	counted := seq.Tap(seq.Of("a", "b"), func(_ string, err error) {
		if err == nil {
			seen++
		}
	})
	err := seq.Drain(counted)
	fmt.Println(err, seen)
	// Output: <nil> 2
}

// A second try for what failed; what fails again is still about its item.
func ExampleCatch() {
	numbers := seq.Map(seq.Of("1", "0x10", "ten", ""), strconv.Atoi)
	retried := seq.Catch(numbers, func(err error) (int, error) {
		text, ok := seq.FailedItem[string](err)
		switch {
		case !ok:
			return 0, err // not about one item
		case text == "":
			return 0, seq.ErrSkip
		}
		n, err := strconv.ParseInt(text, 0, 0)
		return int(n), err
	})
	for n, err := range retried {
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 16 <nil>
	// 0 item "ten": strconv.ParseInt: parsing "ten": invalid syntax
}

func ExampleConcat() {
	fmt.Println(seq.Collect(seq.Concat(seq.Of(1, 2), seq.Of(3))))
	// Output: [1 2 3] <nil>
}

func ExampleMergeSorted() {
	merged := seq.MergeSorted(strings.Compare, seq.Of("a", "d", "e"), seq.Of("b", "c", "f"))
	fmt.Println(seq.Collect(merged))
	// Output: [a b c d e f] <nil>
}

func ExampleZip() {
	names, ages := seq.Of("Ann", "Bob", "Cid"), seq.Of(31, -1)
	people := seq.Zip(names, ages, func(name string, age int) (string, error) {
		if age < 0 {
			return "", errors.New("negative age")
		}
		return fmt.Sprint(name, " is ", age), nil
	})
	for person, err := range people {
		if failed, ok := seq.FailedItem[seq.Pair[string, int]](err); ok {
			fmt.Println(failed.A, failed.B, err)
			continue
		}
		fmt.Println(person)
	}
	// Output:
	// Ann is 31
	// Bob -1 item {Bob -1}: negative age
}

func ExamplePair() {
	err := error(&seq.ItemError{Item: seq.Pair[string, int]{A: "Bob", B: -1}, Err: errors.New("negative age")})
	pair, _ := seq.FailedItem[seq.Pair[string, int]](err)
	fmt.Println(pair.A, pair.B)
	// Output: Bob -1
}
