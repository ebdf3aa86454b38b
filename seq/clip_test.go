package seq_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"example.com/pipeline/seq"
)

type cyclic struct {
	Name string
	Self *cyclic
}

// hugeText is an item whose own text is too long.
type hugeText struct{}

func (hugeText) String() string { return strings.Repeat("x", 1<<20) }

// brokenText is an item whose own text cannot be had.
type brokenText struct{}

func (brokenText) String() string { panic("no text") }

// TestItemErrorText checks that the text names the item, like %v where that is
// short, and that it is always short and valid.
func TestItemErrorText(t *testing.T) {
	itself := &cyclic{Name: "knot"}
	itself.Self = itself
	endless := []any{nil}
	endless[0] = endless
	day := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	n := 7
	for _, c := range []struct {
		item any
		want string // "" where only the limits are checked
	}{
		{nil, "<nil>"},
		{42, "42"},
		{-1.5, "-1.5"},
		{"two words", `"two words"`},
		{[]byte{0xca, 0xfe}, "cafe"},
		{[]int{1, 2, 3}, "[1 2 3]"},
		{[2]bool{true, false}, "[true false]"},
		{struct {
			ID   int
			Name string
			note any
		}{1, "a b", nil}, "{1 a b <nil>}"},
		{map[string]int{"b": 2, "a": 1, "c": 3}, "map[a:1 b:2 c:3]"},
		{&struct{ At time.Time }{day}, "&{2024-02-29 00:00:00 +0000 UTC}"},
		{(*cyclic)(nil), "<nil>"},
		{[]any{nil, "x", 1, []byte("a")}, "[<nil> x 1 [97]]"},
		{fmt.Errorf("an error"), "an error"},
		{seq.Pair[int, string]{A: 1, B: "x"}, "{1 x}"},
		{[]*int{nil}, "[<nil>]"},
		{[]*int{&n}, "[*int]"},
		{&n, "&7"},
		{[]any{&n, itself}, "[*int *seq_test.cyclic]"},
		{func(int) error { return nil }, "func(int) error"},
		{(func())(nil), "<nil>"},
		{make(chan int), "chan int"},
		{struct {
			Do   func()
			done chan struct{}
			next *int
			raw  unsafe.Pointer
		}{func() {}, make(chan struct{}), &n, unsafe.Pointer(&n)}, "{func() chan struct {} *int unsafe.Pointer}"},
		{struct{ next *int }{}, "{<nil>}"},
		{map[*int]func(){&n: func() {}}, "map[*int:func()]"},
		{&struct{ next *cyclic }{itself}, "&{*seq_test.cyclic}"},
		{(chan int)(nil), "<nil>"},
		{strings.Repeat("a", 1<<20), `"` + strings.Repeat("a", 79) + "…"},
		{strings.Repeat("ä", 100), `"` + strings.Repeat("ä", 39) + "…"},
		{strings.Repeat("a", 78) + "é", ""},
		{[]byte(strings.Repeat("a", 1<<20)), strings.Repeat("61", 40) + "…"},
		{"\xff\xfe", `"\xff\xfe"`},
		{struct{ Raw string }{"\xff"}, "{\uFFFD}"},
		{make([]int, 1<<20), "[" + strings.Repeat("0 ", 39) + "0…"},
		{[]string{strings.Repeat("b", 1<<20)}, "[" + strings.Repeat("b", 79) + "…"},
		{make([]struct{}, 1<<20), ""},
		{bigMap(1000), "map of 1000 entries"},
		{struct{ M map[int]int }{bigMap(80)}, ""},
		{itself, "&{knot *seq_test.cyclic}"},
		{endless, ""},
		{hugeText{}, strings.Repeat("x", 80) + "…"},
		{brokenText{}, "%!v(PANIC=String method: no text)"},
	} {
		text := (&seq.ItemError{Item: c.item, Err: errCallback}).Error()
		item, ok := strings.CutPrefix(text, "item ")
		item, ok2 := strings.CutSuffix(item, ": callback failed")
		if !ok || !ok2 || c.want != "" && item != c.want {
			t.Errorf("%T: got %q, want item %q", c.item, text, c.want)
		}
		if len(item) > 80+len("…") || !utf8.ValidString(item) || item == "" {
			t.Errorf("%T: %d bytes, valid %v: %q", c.item, len(item), utf8.ValidString(item), item)
		}
	}
}

func bigMap(n int) map[int]int {
	m := make(map[int]int)
	for i := range n {
		m[i] = i
	}
	return m
}

// TestItemErrorTextIsCheap keeps a huge item from being printed in full first.
func TestItemErrorTextIsCheap(t *testing.T) {
	row := struct {
		ID     int
		Values []any
	}{1, []any{strings.Repeat("x", 64<<20), make([]byte, 64<<20)}}
	err := &seq.ItemError{Item: row, Err: errCallback}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text := err.Error()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("%q: the text of a huge item took %d bytes", text, got)
	}
}

// TestPanicErrorText: the value looks as it would in a crash, but for addresses.
func TestPanicErrorText(t *testing.T) {
	n := 7
	for _, c := range []struct {
		value any
		want  string
	}{
		{"two words", "two words"},
		{strings.Repeat("a", 1000), strings.Repeat("a", 1000)},
		{errCallback, "callback failed"},
		{42, "42"},
		{time.Second, "1s"},
		{brokenText{}, "%!v(PANIC=String method: no text)"},
		{func() {}, "func()"},
		{struct {
			ID   int
			next *int
		}{1, &n}, "{1 *int}"},
	} {
		text := (&seq.PanicError{Value: c.value, Stack: []byte("the stack")}).Error()
		if want := "panic: " + c.want + "\n\nthe stack"; text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}
