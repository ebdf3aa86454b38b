package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A run in which no row comes says so after 10 s, and ends after -stall.
func TestStall(t *testing.T) {
	for _, test := range []struct {
		stall, slowest time.Duration
		rowAt          time.Duration // 0: none comes
		wait           time.Duration
		told           int
		ended          bool
	}{
		{0, 0, 0, 9 * time.Second, 0, false},
		{0, 0, 0, 12 * time.Second, 1, false},
		{0, 0, 0, time.Hour, 9, false},
		{0, 0, 5 * time.Second, 12 * time.Second, 0, false},
		{time.Minute, 0, 0, 59 * time.Second, 3, false},
		{time.Minute, 0, 0, 62 * time.Second, 3, true},
		{time.Minute, 0, 30 * time.Second, 80 * time.Second, 5, false},
		{2 * time.Second, 0, 0, 4 * time.Second, 0, true},
		{time.Minute, time.Minute, 0, 2 * time.Minute, 0, false}, // -rate has it so slow
	} {
		synctest.Test(t, func(t *testing.T) {
			out := newOutput()
			ctx, cancel := context.WithCancelCause(t.Context())
			w := startWatch(ctx, newVoice(out, "text"), test.stall, cancel)
			var rows tally
			w.ForRows("the rows of t", &rows, test.slowest)
			if test.rowAt > 0 {
				time.Sleep(test.rowAt + time.Millisecond)
				rows.came.Add(1)
				rows.rows.Add(1)
			}
			time.Sleep(test.wait - test.rowAt)
			ended := errors.Is(context.Cause(ctx), errSilent)
			w.Stop()
			cancel(nil)
			if told := strings.Count(out.String(), "no row has come"); told != test.told || ended != test.ended {
				t.Errorf("%+v: told %d times, ended %v:\n%s", test, told, ended, out)
			}
		})
	}
}

// What is waited for is said, each step anew, and what is no wait for the database does not
// count: a loop that is at work on a row, and a rest.
func TestWatchSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := newOutput()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w := startWatch(ctx, newVoice(out, "text"), 30*time.Second, cancel)
		defer w.Stop()
		seen := 0
		pass := func(d time.Duration, told string) {
			t.Helper()
			time.Sleep(d)
			if got := out.String()[seen:]; (told == "") != (got == "") || !strings.Contains(got, told) {
				t.Errorf("got %q, want %q", got, told)
			}
			seen = len(out.String())
		}
		pass(time.Hour, "") // nothing is waited for yet
		for _, step := range []string{"looking up a", "looking up b", "counting the rows of a"} {
			w.For(step)
			pass(9*time.Second, "")
		}
		w.For("splitting a")
		pass(12*time.Second, "no answer has come for 10s: waiting for the database (splitting a)")
		w.Rest()
		pass(time.Hour, "")
		var rows tally
		w.ForRows("the rows of a", &rows, 0)
		rows.came.Add(1)
		pass(time.Hour, "") // a reader of standard output takes its time
		rows.rows.Add(1)
		pass(13*time.Second, "no row has come for 10s: waiting for the database (the rows of a)")
		w.For("looking up c")
		time.Sleep(32 * time.Second)
		want := "the database is silent: no answer has come for 30s, and -stall is 30s (looking up c)"
		if cause := context.Cause(ctx); !errors.Is(cause, errSilent) || cause.Error() != want {
			t.Errorf("ended by %v, want %s", cause, want)
		}
	})
}

// What an end has brought about does not hide it; what was lost is said beside it.
func TestFirstCause(t *testing.T) {
	free := errors.Join(context.Canceled, context.DeadlineExceeded)
	full := errors.Join(context.Canceled, errors.New("no room"))
	other := errors.New("other")
	signalled, signal := context.WithCancel(t.Context())
	ctx, end := context.WithCancelCause(signalled)
	if err := firstCause(signalled, ctx, free); err != free {
		t.Errorf("got %v for a run that goes on", err)
	}
	end(errSilent)
	if err := firstCause(signalled, ctx, nil); err != nil {
		t.Errorf("got %v for a run that was done before", err)
	}
	if err := firstCause(signalled, ctx, free); err != errSilent {
		t.Errorf("got %v, want %v alone", err, errSilent)
	}
	if err := firstCause(signalled, ctx, full); !errors.Is(err, errSilent) || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v, want both", err)
	}
	if err := firstCause(signalled, ctx, other); err != other {
		t.Errorf("got %v, want %v", err, other)
	}
	signal()
	for err, lost := range map[error]string{free: "", context.DeadlineExceeded: "", full: "no room"} {
		got := firstCause(signalled, ctx, err)
		if text := lostWork(got); !errors.Is(got, context.Canceled) || (text == "") != (lost == "") || !strings.Contains(text, lost) {
			t.Errorf("%v: got %v and %q lost", err, got, text)
		}
	}
}
