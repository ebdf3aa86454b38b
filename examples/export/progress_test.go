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
			p := newProgress(newVoice(out, "text"), 0, test.slowest)
			p.Start(ctx, test.stall, cancel)
			if test.rowAt > 0 {
				time.Sleep(test.rowAt + time.Millisecond)
				p.rows.Add(1)
			}
			time.Sleep(test.wait - test.rowAt)
			ended := errors.Is(context.Cause(ctx), errSilent)
			p.Stop()
			cancel(nil)
			if told := strings.Count(out.String(), "no row has come"); told != test.told || ended != test.ended {
				t.Errorf("%+v: told %d times, ended %v:\n%s", test, told, ended, out)
			}
		})
	}
}
