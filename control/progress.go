package control

import (
	"iter"
	"math"
	"sync/atomic"
	"time"
)

// A ProgressConfig says how [Progress] reports. The zero value reports once a second
// and knows no total.
type ProgressConfig struct {
	Total int64         // items that are expected in all; 0 means unknown
	Every time.Duration // time between two reports; 0 means 1 s
}

// A Report is how far a loop over [Progress] has come.
type Report struct {
	Items     int64         // items handed to the loop so far, the one in hand included
	Errors    int64         // errors handed to the loop so far: failed items, and the final error if there was one
	Total     int64         // from the config
	Elapsed   time.Duration // since the loop began
	Remaining time.Duration // estimated from Total and the mean pace so far, failed items being done; 0 means unknown or done
	Rate      float64       // items a second, the mean since the loop began; 0 before any time has passed
}

// Progress calls report every cfg.Every, and once more at the end, with what has
// passed so far. The stream itself stays as it is.
//
// Reports are made between items, after the loop's body, by the goroutine that runs
// the loop; so report needs no lock for what the body uses, and its panic is the
// loop's. While the source blocks or the body works there is none, and periods that
// pass in the meantime give one report together; [Heartbeat] is for watching that. The
// last report comes when the loop has ended, also by a break, a return or an error,
// but not after a panic.
//
// Ends: with in, or at a final error of in.
// Owns: a timer, no goroutine; report runs in the consumer's.
// Reads ahead: nothing.
// Reuse: as often as in; each loop counts from 0.
func Progress[T any](in iter.Seq2[T, error], cfg ProgressConfig, report func(Report)) iter.Seq2[T, error] {
	needStream("Progress", in)
	need(cfg.Total >= 0, "Progress", "Total must not be negative")
	need(cfg.Every >= 0, "Progress", "Every must not be negative")
	need(report != nil, "Progress", "report must not be nil")
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	return func(yield func(T, error) bool) {
		p := &progress{cfg: cfg, begin: clock(), due: cfg.Every}
		p.alarm = time.AfterFunc(p.lead(0), func() { p.near.Store(true) })
		defer p.alarm.Stop()
		for v, err := range in {
			if err == nil {
				p.items++
			} else {
				p.errors++
			}
			if !yield(v, err) || isFinal(err) {
				break
			}
			if p.near.Load() && p.isDue() {
				report(p.report())
			}
		}
		report(p.report())
	}
}

// progress is one loop over Progress.
//
// Reading the clock costs more than a whole synchronous stage, so it is read only
// when the next report is close: an alarm rings a little ahead, and from then on each
// item looks at the clock. The alarm alone would not do, since its goroutine runs at
// some time after the instant, and the report would come an item or two late.
type progress struct {
	cfg           ProgressConfig
	begin         time.Duration // on clock
	items, errors int64
	due           time.Duration // of the next report, since begin
	near          atomic.Bool   // the next report is close
	alarm         *time.Timer
}

// lead returns how long to leave the clock alone, at a time since begin.
func (p *progress) lead(elapsed time.Duration) time.Duration {
	return p.due - elapsed - p.cfg.Every/16
}

// isDue reports whether it is time for a report, and if so arms the next one.
// Reports keep to the multiples of Every.
func (p *progress) isDue() bool {
	elapsed := clock() - p.begin
	if elapsed < p.due {
		return false
	}
	p.due = later(elapsed-elapsed%p.cfg.Every, p.cfg.Every)
	p.near.Store(false)
	p.alarm.Reset(p.lead(elapsed))
	return true
}

func (p *progress) report() Report {
	r := Report{Items: p.items, Errors: p.errors, Total: p.cfg.Total, Elapsed: clock() - p.begin}
	seconds := r.Elapsed.Seconds()
	if seconds > 0 {
		r.Rate = float64(r.Items) / seconds
	}
	done := r.Items + r.Errors
	if todo := r.Total - done; todo > 0 && done > 0 {
		left := float64(r.Elapsed) * float64(todo) / float64(done)
		r.Remaining = time.Duration(min(left, math.MaxInt64/2))
	}
	return r
}
