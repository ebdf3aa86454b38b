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
// Which stage pulls on which the Monitor learns when the loops begin, from the goroutine in
// which each runs and the one that started that. So it sees a chain, and what comes together
// in a [seq.Merge], at the end of a fan or in a join. Where it cannot see it, since goroutines
// that are not observed lie between, it takes the order of the first Observe of each name,
// which is that of the flow: a pipeline is built from the source down.
//
// Use one Monitor for each pipeline. Streams of the same name are one stage: their counts
// and times add up, over loops that have ended, too.
//
// A Monitor is safe for concurrent use. It never keeps a stream waiting.
type Monitor struct {
	start time.Duration // on clock

	mu      sync.Mutex
	stages  []*stage
	running map[uint64][]loop // by goroutine, the outermost first; of stages that are looked at
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

// list returns what is known of each stage now.
func (m *Monitor) list() []node {
	m.mu.Lock()
	stages := slices.Clone(m.stages)
	below := resolve(stages)
	nodes := make([]node, len(stages))
	for i, s := range stages {
		nodes[i].below, nodes[i].feeds = below[i], s.place.feeds
	}
	m.mu.Unlock()
	for i, s := range stages {
		c, running, idle := s.read()
		nodes[i].stats = StageStats{s.name, c.pairs - c.errors, c.errors, c.up, c.down}
		nodes[i].running, nodes[i].idle = running, idle
	}
	return nodes
}

// Snapshot returns the stages as they are now, source first.
func (m *Monitor) Snapshot() []StageStats {
	nodes := m.list()
	stats := make([]StageStats, len(nodes))
	for i, n := range nodes {
		stats[i] = n.stats
	}
	return stats
}

// Bottleneck returns the stage where most of the time goes, since the monitor's
// beginning: the one that the most work waits for. It returns [Consumer] where that is the
// loop's body. ok is false while there is not enough to say: nothing has run, or for less
// than a millisecond.
//
// Let w be the part of its time for which what is below an observed stage waits for it. A
// wait counts as far as it is felt at the end: for no more than the w of any stage below. From the
// source down it grows; it leaps at the bottleneck, from "the stage above is kept waiting" to
// "the stage below waits". So the share of a stage is its own w less that of the stage above,
// and that of the consumer is what is left up to 1. In a chain without concurrency these
// shares are exactly the parts of the time that the stages work.
//
// Where several streams come together, the stage below waits only while it has nothing from
// any of them. So the one with the least w counts as the stage above, and the others have no
// share, however long each is waited for by itself: an idle source beside a busy one is
// no bottleneck. A source is named only where all are waited for at once. A stream that has
// ended counts as waited for. Where one stream holds up the others, as in [seq.MergeSorted], the
// stage that they come together in is named: the times of its sources tell the rest.
func (m *Monitor) Bottleneck() (stage string, ok bool) {
	nodes := m.list()
	return bottleneck(nodes)
}

// bottleneck is where the share of the time is largest, the first of several.
func bottleneck(nodes []node) (stage string, ok bool) {
	largest := 0.0
	for i, share := range shares(nodes) {
		if share <= largest {
			continue
		}
		largest, stage = share, Consumer
		if i < len(nodes) {
			stage = nodes[i].stats.Name
		}
	}
	return stage, largest > 0
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
	Share   float64       `json:"share"`           // the stage's share of the time
	Running int           `json:"running"`         // loops over it that have not ended
	Idle    time.Duration `json:"idle"`            // since the last of them ended, where none runs, in ns
	Below   int           `json:"below"`           // the index of the stage that pulls on it; -1: the consumer does
	Feeds   bool          `json:"feeds,omitempty"` // it is the source of a fan, whose lanes stand beside it
}

// state returns the monitor's state as JSON.
func (m *Monitor) state() []byte {
	st := state{Elapsed: clock() - m.start, Stages: []stageState{}}
	nodes := m.list()
	for _, n := range nodes {
		st.Stages = append(st.Stages, stageState{StageStats: n.stats, Running: n.running, Idle: n.idle, Below: n.below, Feeds: n.feeds})
	}
	st.Bottleneck, _ = bottleneck(nodes)
	for i, share := range shares(nodes) {
		if i == len(nodes) {
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
