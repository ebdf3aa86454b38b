package seq_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"example.com/pipeline/seq"
)

var errCause = errors.New("shutting down")

// isEnd reports whether err is what contract rule 7 asks for where ctx was ended by
// errCause.
func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) && errors.Is(err, errCause) && !seq.IsItemError(err)
}

func TestFromStopsWithConsumer(t *testing.T) {
	calls := 0
	rude := func(yield func(int) bool) {
		for i := range 5 {
			calls++
			yield(i)
		}
	}
	if got, err := seq.Collect(seq.Take(seq.From(rude), 2)); !slices.Equal(got, []int{0, 1}) || err != nil || calls != 5 {
		t.Errorf("got %v, %v in %d calls", got, err, calls)
	}
	seq.From(rude)(func(v int, err error) bool {
		if v > 0 {
			t.Errorf("yield(%d) after it returned false", v)
		}
		return false
	})
}

func TestFromChanEndsWhenClosed(t *testing.T) {
	ch := make(chan int, 3)
	ch <- 1
	ch <- 2
	close(ch)
	if got, err := seq.Collect(seq.FromChan(t.Context(), ch)); !slices.Equal(got, []int{1, 2}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFromChanSecondLoopGoesOn(t *testing.T) {
	ch := make(chan int, 3)
	ch <- 1
	ch <- 2
	ch <- 3
	close(ch)
	s := seq.FromChan(t.Context(), ch)
	first, ok, err := seq.First(s)
	rest, err2 := seq.Collect(s)
	if first != 1 || !ok || err != nil || !slices.Equal(rest, []int{2, 3}) || err2 != nil {
		t.Errorf("got %v %v %v, then %v %v", first, ok, err, rest, err2)
	}
}

// TestFromChanContextFirst: once ctx has ended, ready items stay in the channel.
func TestFromChanContextFirst(t *testing.T) {
	for range 50 { // select would pick at random
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		ch := make(chan int, 5)
		for i := range 5 {
			ch <- i
		}
		var got []int
		var end error
		for v, err := range seq.FromChan(ctx, ch) {
			if err != nil {
				end = err
				continue // the stream must end by itself
			}
			got = append(got, v)
			if v == 1 {
				cancel(errCause)
			}
		}
		if !slices.Equal(got, []int{0, 1}) || !isEnd(end) || len(ch) != 3 {
			t.Fatalf("got %v, %v and left %d", got, end, len(ch))
		}
	}
}

func TestFromChanContextEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errCause)
		defer cancel()
		start := time.Now()
		_, err := seq.Collect(seq.FromChan(ctx, make(chan int)))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errCause) || time.Since(start) != time.Hour {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// results makes a next for FromFunc of a list; behind it comes io.EOF.
func results(list ...pair) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		if len(list) == 0 {
			return -1, io.EOF
		}
		p := list[0]
		list = list[1:]
		return p.v, p.err
	}
}

// An anyError Is io.EOF.
type anyError struct{}

func (anyError) Error() string        { return "any" }
func (anyError) Is(target error) bool { return target == io.EOF }

func TestFromFunc(t *testing.T) {
	final := errors.New("final")
	item := &seq.ItemError{Item: 1, Err: errCallback}
	connectionLost := &url.Error{Op: "Get", URL: "http://127.0.0.1/pages/3", Err: io.EOF}
	joinedEOF := errors.Join(io.EOF)
	cutOff := &seq.ItemError{Item: 1, Err: fmt.Errorf("reading: %w", io.EOF)}
	for _, c := range []struct {
		name string
		list []pair
		want []pair
	}{
		{"end", nil, nil},
		{"items", []pair{{1, nil}, {2, nil}}, []pair{{1, nil}, {2, nil}}},
		{"wrapped EOF", []pair{{1, nil}, {9, connectionLost}, {2, nil}}, []pair{{1, nil}, {0, connectionLost}}},
		{"joined EOF", []pair{{1, nil}, {9, joinedEOF}, {2, nil}}, []pair{{1, nil}, {0, joinedEOF}}},
		{"error that says it is EOF", []pair{{9, anyError{}}, {2, nil}}, []pair{{0, anyError{}}}},
		{"skip", []pair{{1, nil}, {9, fmt.Errorf("not: %w", seq.ErrSkip)}, {2, nil}}, []pair{{1, nil}, {2, nil}}},
		{"item error", []pair{{9, item}, {2, nil}}, []pair{{0, item}, {2, nil}}},
		{"item cut off", []pair{{9, cutOff}, {2, nil}}, []pair{{0, cutOff}, {2, nil}}},
		{"final", []pair{{9, final}, {2, nil}}, []pair{{0, final}}},
		{"unexpected EOF", []pair{{9, io.ErrUnexpectedEOF}, {2, nil}}, []pair{{0, io.ErrUnexpectedEOF}}},
	} {
		var got []pair
		for v, err := range seq.FromFunc(t.Context(), results(c.list...)) {
			got = append(got, pair{v, err})
		}
		wantSame(t, c.name, got, c.want)
	}
}

// TestFromFuncContext checks what becomes of next's last result where ctx ends
// during the call: an item is not lost, an error gives way, even one that looks
// like the end.
func TestFromFuncContext(t *testing.T) {
	for _, c := range []struct {
		last pair
		want int // items
	}{
		{pair{5, nil}, 1},
		{pair{5, io.EOF}, 0},
		{pair{5, seq.ErrSkip}, 0},
		{pair{5, context.Canceled}, 0},
		{pair{5, &seq.ItemError{Item: 1, Err: context.Canceled}}, 0},
		{pair{5, errors.New("connection closed")}, 0},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		got, err := seq.CollectAll(seq.FromFunc(ctx, func(given context.Context) (int, error) {
			if given != ctx {
				t.Error("next did not get ctx")
			}
			calls++
			cancel(errCause)
			return c.last.v, c.last.err
		}))
		if len(got) != c.want || !isEnd(err) || calls != 1 {
			t.Errorf("next returned %v: got %v, %v in %d calls", c.last, got, err, calls)
		}
	}
}

func TestFromFuncDoesNotCallAfterEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := seq.Collect(seq.FromFunc(ctx, func(context.Context) (int, error) {
		t.Error("next was called")
		return 0, nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\n", []string{""}},
		{"a", []string{"a"}},
		{"a\n", []string{"a"}},
		{"a\nb", []string{"a", "b"}},
		{"a\r\nb\r\n", []string{"a", "b"}},
		{"a\rb\r\r\n", []string{"a\rb\r"}},
		{"\n\n\r\n", []string{"", "", ""}},
		{"\xff\x00\n\u2028\n", []string{"\xff\x00", "\u2028"}},
		{long + "\r\n" + long, []string{long, long}},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in)),
			"with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			if got, err := seq.Collect(seq.Lines(r)); !slices.Equal(got, c.want) || err != nil {
				t.Errorf("%s %.20q: got %.80q, %v", name, c.in, got, err)
			}
		}
	}
}

// TestLinesReadError: what there is of the cut line comes before the error, and
// even an error that was about one item elsewhere is final here.
func TestLinesReadError(t *testing.T) {
	broken := errors.New("connection reset")
	item := &seq.ItemError{Item: 1, Err: broken}
	for _, readErr := range []error{broken, item, io.ErrUnexpectedEOF, fmt.Errorf("GET /log: %w", io.EOF)} {
		r := io.MultiReader(strings.NewReader("one\ntw"), iotest.ErrReader(readErr))
		var lines []string
		var errs []error
		for line, err := range seq.Lines(r) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			lines = append(lines, line)
		}
		if !slices.Equal(lines, []string{"one", "tw"}) || len(errs) != 1 || !errors.Is(errs[0], readErr) || seq.IsItemError(errs[0]) {
			t.Errorf("got %q, %v", lines, errs)
		}
	}
	stuck := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := seq.Collect(seq.Lines(stuck)); err != io.ErrNoProgress {
		t.Errorf("got %v for a reader that reads nothing", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLinesReuse(t *testing.T) {
	file := strings.NewReader("a\nb\nc\n")
	s := seq.Lines(file)
	for range 2 { // after a break in the middle, too
		first, _, err := seq.First(s)
		if first != "a" || err != nil {
			t.Errorf("got %q, %v", first, err)
		}
		file.Seek(0, io.SeekStart)
	}

	buffered := seq.Lines(bufio.NewReaderSize(strings.NewReader("a\nb\nc\n"), 16))
	first, _, _ := seq.First(buffered)
	rest, err := seq.Collect(buffered)
	if first != "a" || !slices.Equal(rest, []string{"b", "c"}) || err != nil {
		t.Errorf("a *bufio.Reader: got %q, then %q, %v", first, rest, err)
	}
}

// FuzzLines compares with bufio.Scanner, which knows the same line endings.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\nb\r"), 3)
	f.Add([]byte("\r\r\n\n\r"), 1)
	f.Add(bytes.Repeat([]byte("long"), 20_000), 1000)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		scanner := bufio.NewScanner(bytes.NewReader(data))
		scanner.Buffer(nil, len(data)+1)
		var want []string
		for scanner.Scan() {
			want = append(want, scanner.Text())
		}
		in := bytes.NewReader(data)
		r := readerFunc(func(p []byte) (int, error) { return in.Read(p[:min(len(p), max(step, 1))]) })
		got, err := seq.Collect(seq.Lines(r))
		if err != nil {
			t.Error(err)
		}
		wantSame(t, "lines", got, want)
	})
}

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		start := time.Now()
		var at []time.Duration
		var end error
		for now, err := range seq.Ticks(ctx, time.Second) {
			if err != nil {
				end = err
				continue
			}
			if now.Sub(start)%time.Second != 0 {
				t.Errorf("a tick of %v", now.Sub(start))
			}
			at = append(at, time.Since(start))
			switch len(at) {
			case 2:
				time.Sleep(3500 * time.Millisecond) // ticks 3, 4 and 5: one waits
			case 4:
				cancel(errCause)
				time.Sleep(2 * time.Second) // a tick is ready, but ctx comes first
			}
		}
		want := []time.Duration{1 * time.Second, 2 * time.Second, 5500 * time.Millisecond, 6 * time.Second}
		wantSame(t, "ticks after", at, want)
		if !isEnd(end) {
			t.Errorf("then %v, want the end of the context", end)
		}
	})
}

// TestTicksOfAnyLength runs outside of a bubble, where now + every may overflow.
func TestTicksOfAnyLength(t *testing.T) {
	if n, err := seq.Count(seq.Take(seq.Ticks(t.Context(), 1), 3)); n != 3 || err != nil {
		t.Errorf("every nanosecond: got %d ticks, %v", n, err)
	}
	for _, every := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		n, err := seq.Count(seq.Ticks(ctx, every))
		cancel()
		if n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("every %v: got %d ticks, %v", every, n, err)
		}
	}
}

// TestTicksReuse: each loop starts its period anew.
func TestTicksReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := seq.Ticks(t.Context(), time.Minute)
		for range 2 {
			time.Sleep(90 * time.Second)
			start := time.Now()
			now, ok, err := seq.First(s)
			if now.Sub(start) != time.Minute || !ok || err != nil {
				t.Errorf("got %v, %v, %v", now.Sub(start), ok, err)
			}
		}
	})
}

func TestFailEnds(t *testing.T) {
	for _, want := range []error{errCallback, &seq.ItemError{Item: 1, Err: errCallback}} {
		var got []error
		for _, err := range seq.Fail[int](want) {
			got = append(got, err)
		}
		wantSame(t, "errors", got, []error{want})
	}
}
