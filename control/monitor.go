package control

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Consumer is what [Monitor.Bottleneck] calls the loop's body, and whatever else stands
// below the last observed stage.
const Consumer = "consumer"

// A Monitor answers "where is my pipeline stuck". Streams that went through [Observe]
// are counted and timed; everything else that it does is reading. It is an
// [net/http.Handler], which shows a live page, and an [expvar.Var]:
//
//	http.Handle("/pipeline", m)
//	expvar.Publish("pipeline", m)
//
// A Monitor takes its stages for a line, in the order of the first Observe of each
// name; a pipeline is built from the source down, so that is the order of the flow. Use
// one Monitor for each line where a pipeline forks. Streams of the same name are one
// stage: their counts and times add up, over loops that have ended, too.
//
// A Monitor is safe for concurrent use. It never keeps a stream waiting.
type Monitor struct {
	start time.Duration // on clock

	mu     sync.Mutex
	stages []*stage
}

// NewMonitor returns a monitor without stages.
func NewMonitor() *Monitor { return &Monitor{start: clock()} }

// StageStats are the counts and times of an observed stage, of all loops over it
// together. Times include the wait that is going on now.
type StageStats struct {
	Name     string        `json:"name"`
	Items    int64         `json:"items"`    // items that the stage has given out
	Errors   int64         `json:"errors"`   // errors that it has given out: failed items and final errors
	WaitUp   time.Duration `json:"waitUp"`   // time that the stage below waited for this one, in ns in JSON
	WaitDown time.Duration `json:"waitDown"` // time that this stage was kept waiting by the one below, in ns in JSON
}

// stage returns the stage of that name and makes it where there is none.
func (m *Monitor) stage(name string) *stage {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.stages {
		if s.name == name {
			return s
		}
	}
	s := &stage{name: name, loops: make(map[*watch]struct{})}
	m.stages = append(m.stages, s)
	return s
}

// list returns the stages there are now.
func (m *Monitor) list() []*stage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.stages)
}

// Snapshot returns the stages as they are now, source first.
func (m *Monitor) Snapshot() []StageStats {
	stages := m.list()
	stats := make([]StageStats, len(stages))
	for i, s := range stages {
		stats[i], _ = s.stats()
	}
	return stats
}

// stats returns the stage's counts, and how many loops over it are running.
func (s *stage) stats() (StageStats, int) {
	c, running := s.read()
	return StageStats{s.name, c.pairs - c.errors, c.errors, c.up, c.down}, running
}

// Bottleneck returns the stage where most of the time goes, since the monitor's
// beginning: the one for which the stage below waits, while the stage above is kept
// waiting by it. It returns [Consumer] where that is the loop's body. ok is false while
// there is not enough to say: nothing has run, or for less than a millisecond.
//
// Let w be the part of its time for which the stage below an observed one waits for it.
// From the source down w grows; it leaps at the bottleneck, from "the stage above is kept
// waiting" to "the stage below waits". So the share of a stage is its own w less that of
// the stage above, and that of the consumer is what is left up to 1. In a chain without
// concurrency these shares are exactly the parts of the time that the stages work.
func (m *Monitor) Bottleneck() (stage string, ok bool) {
	return bottleneck(m.Snapshot())
}

// minWatched is how long a stage must have been watched to say something of it.
const minWatched = time.Millisecond

// bottleneck is where the share of the time is largest, the first of several.
func bottleneck(stats []StageStats) (stage string, ok bool) {
	largest := 0.0
	for i, share := range shares(stats) {
		if share <= largest {
			continue
		}
		largest, stage = share, Consumer
		if i < len(stats) {
			stage = stats[i].Name
		}
	}
	return stage, largest > 0
}

// shares returns for each stage, and last for the consumer, which part of the time goes
// there. It returns none while there is not enough to say.
func shares(stats []StageStats) []float64 {
	all := make([]float64, 0, len(stats)+1)
	above, known := 0.0, false
	for _, s := range stats {
		total := s.WaitUp + s.WaitDown
		if total < minWatched {
			all = append(all, 0) // as if it were not there
			continue
		}
		known = true
		waits := float64(s.WaitUp) / float64(total)
		all = append(all, max(0, waits-above))
		above = waits
	}
	if !known {
		return nil
	}
	return append(all, 1-above)
}

// state is what the page and other programs get as JSON.
type state struct {
	Elapsed    time.Duration `json:"elapsed"`    // since NewMonitor, in ns
	Bottleneck string        `json:"bottleneck"` // empty while there is not enough to say
	Stages     []stageState  `json:"stages"`     // source first
	Consumer   float64       `json:"consumer"`   // the consumer's share of the time
}

type stageState struct {
	StageStats
	Share   float64 `json:"share"`   // the stage's share of the time
	Running int     `json:"running"` // loops over it that have not ended
}

// state returns the monitor's state as JSON.
func (m *Monitor) state() []byte {
	st := state{Elapsed: clock() - m.start, Stages: []stageState{}}
	var stats []StageStats
	for _, s := range m.list() {
		now, running := s.stats()
		stats = append(stats, now)
		st.Stages = append(st.Stages, stageState{StageStats: now, Running: running})
	}
	st.Bottleneck, _ = bottleneck(stats)
	for i, share := range shares(stats) {
		if i == len(stats) {
			st.Consumer = share
			break
		}
		st.Stages[i].Share = share
	}
	text, err := json.Marshal(st)
	if err != nil {
		panic("control.Monitor: " + err.Error()) // numbers and strings only: cannot be
	}
	return text
}

// String returns the monitor's state as JSON, the same that [Monitor.ServeHTTP] gives to
// programs. With it a Monitor is an [expvar.Var].
func (m *Monitor) String() string { return string(m.state()) }
