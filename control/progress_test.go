package control

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/pipeline/seq"
)

// progressOf loops over in with a body and returns the reports. The loop has a goroutine
// of its own, so that the body may leave it.
func progressOf(in intStream, cfg ProgressConfig, body func(v int, err error) bool) (reports []Report, panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		for v, err := range Progress(in, cfg, func(r Report) { reports = append(reports, r) }) {
			if !body(v, err) {
				break
			}
		}
	}()
	<-done
	return reports, panicked
}

func goOn(int, error) bool { return true }

func wantReports(t *testing.T, got []Report, want ...Report) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports, -want +got:\n%s", diff)
	}
}

func TestProgressReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Ten items a second; a report falls on the very moment of an item.
		in := aSecondEach(upTo(35))
		got, _ := progressOf(in, ProgressConfig{Total: 50, Every: 10 * s}, goOn)
		wantReports(t, got,
			Report{Items: 10, Total: 50, Elapsed: 10 * s, Remaining: 40 * s, Rate: 1},
			Report{Items: 20, Total: 50, Elapsed: 20 * s, Remaining: 30 * s, Rate: 1},
			Report{Items: 30, Total: 50, Elapsed: 30 * s, Remaining: 20 * s, Rate: 1},
			Report{Items: 35, Total: 50, Elapsed: 35 * s, Remaining: 15 * s, Rate: 1})
	})
}

// The default is one a second; failed items are done, too; no total, no estimate.
func TestProgressCountsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{500 * ms, 1, nil}, event{1500 * ms, 0, errItem}, event{2 * s, 2, nil}, event{2500 * ms, 0, errFinal})
		got, _ := progressOf(in, ProgressConfig{}, goOn)
		wantReports(t, got,
			Report{Items: 1, Errors: 1, Elapsed: 1500 * ms, Rate: 1 / 1.5},
			Report{Items: 2, Errors: 1, Elapsed: 2 * s, Rate: 1},
			Report{Items: 2, Errors: 2, Elapsed: 2500 * ms, Rate: 2 / 2.5})
		got, _ = progressOf(in, ProgressConfig{Total: 8, Every: time.Minute}, goOn)
		wantReports(t, got, Report{Items: 2, Errors: 2, Total: 8, Elapsed: 2500 * ms, Remaining: 2500 * ms, Rate: 2 / 2.5})
	})
}

// Periods that pass while the source blocks or the body works give one report together;
// the next ones keep to their times.
func TestProgressAfterALongItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := script(event{3500 * ms, 1, nil}, event{3600 * ms, 2, nil}, event{4 * s, 3, nil}, event{4500 * ms, 4, nil})
		var at []time.Duration
		got, _ := progressOf(in, ProgressConfig{Every: s}, func(v int, _ error) bool {
			if v == 4 {
				time.Sleep(3 * s)
			}
			return true
		})
		for _, r := range got {
			at = append(at, r.Elapsed)
		}
		if want := "[3.5s 4s 7.5s 7.5s]"; fmt.Sprint(at) != want {
			t.Errorf("reports at %v, want %v", at, want)
		}
	})
}

func TestProgressLastReport(t *testing.T) {
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		in      intStream
		body    func(int, error) bool
		reports string // items of each
		panics  any
	}{
		"nothing at all":   {seq.Of[int](), goOn, "[0]", nil},
		"the end":          {upTo(3), goOn, "[3]", nil},
		"a break":          {upTo(3), func(v int, _ error) bool { return v < 1 }, "[2]", nil},
		"a final error":    {script(event{0, 1, nil}, event{0, 0, errFinal}), goOn, "[1]", nil},
		"left at an error": {script(event{0, 1, nil}, event{0, 0, errItem}), func(_ int, err error) bool { return err == nil }, "[1]", nil},
		"a panic":          {upTo(3), func(int, error) bool { panic(boom) }, "[]", boom},
		"Goexit":           {upTo(3), func(int, error) bool { runtime.Goexit(); return false }, "[]", nil},
		"a panic above":    {seq.Tap(upTo(3), func(int, error) { panic(boom) }), goOn, "[]", boom},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, panicked := progressOf(tt.in, ProgressConfig{}, tt.body)
				items := []int64{}
				for _, r := range got {
					items = append(items, r.Items)
				}
				if fmt.Sprint(items) != tt.reports || panicked != tt.panics {
					t.Errorf("reports %v, panic %v; want %v, %v", items, panicked, tt.reports, tt.panics)
				}
			})
		})
	}
}

// report runs in the loop's goroutine: it may use what the body uses, call back into
// the library, and its panic passes as itself.
func TestProgressReportMayDoAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := NewMonitor(), new(Gate)
		var stream intStream
		items, reports, nested := 0, 0, false
		stream = Progress(Observe(m, "items", Gated(t.Context(), aSecondEach(upTo(5)), g)), ProgressConfig{}, func(r Report) {
			reports++
			m.Bottleneck()
			g.PauseFor(s)
			if items != int(r.Items) && !nested {
				t.Errorf("%d items in a report after %d", r.Items, items)
			}
			if !nested {
				nested = true
				seq.Drain(stream)
				nested = false
			}
		})
		for range stream {
			items++
		}
		if items != 5 || reports < 12 {
			t.Errorf("%d items, %d reports", items, reports)
		}
	})
	boom := errors.New("boom")
	got := panicOf(func() { seq.Drain(Progress(upTo(1), ProgressConfig{}, func(Report) { panic(boom) })) })
	if got != boom {
		t.Errorf("panic %v, want that of report as it is", got)
	}
}

func TestProgressEstimateStaysInRange(t *testing.T) {
	p := &progress{cfg: ProgressConfig{Total: math.MaxInt64}, items: 1, begin: clock() - 1000*time.Hour}
	if r := p.report(); r.Remaining <= 0 {
		t.Errorf("remaining %v", r.Remaining)
	}
	p = &progress{cfg: ProgressConfig{Total: 10}, items: 11, begin: clock() - time.Hour}
	if r := p.report(); r.Remaining != 0 {
		t.Errorf("remaining %v after more than all", r.Remaining)
	}
}

func ExampleProgress() {
	rows := seq.Of("a", "b", "c")
	report := func(r Report) { fmt.Printf("%d of %d rows, %d failed\n", r.Items, r.Total, r.Errors) }
	for row, err := range Progress(rows, ProgressConfig{Total: 3}, report) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row)
	}
	// Output:
	// a
	// b
	// c
	// 3 of 3 rows, 0 failed
}
