package seqtest

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A goroutine is what a stack dump says of one.
type goroutine struct {
	id      string
	bubble  string // empty: in none
	state   string // such as "chan receive"
	durable bool   // blocked so that only its bubble can wake it
	outer   string // the function that it was started with
	creator string // the function with the go statement
	at      string // file and line of the go statement
}

func (g goroutine) String() string {
	return fmt.Sprintf("%s, started at %s, in state %q", g.outer, g.at, g.state)
}

// goroutines returns all goroutines, the caller's first.
func goroutines() []goroutine {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var list []goroutine
	for block := range bytes.SplitSeq(buf, []byte("\n\n")) {
		list = append(list, parseGoroutine(string(block)))
	}
	return list
}

// parseGoroutine reads one block of a stack dump:
//
//	goroutine 9 [chan receive (durable), synctest bubble 2]:
//	example.com/x.Stage.func1()
//		/home/x/x.go:9 +0x1d
//	created by example.com/x.Stage in goroutine 8
//		/home/x/x.go:8 +0x28
func parseGoroutine(block string) goroutine {
	lines := strings.Split(strings.TrimSpace(block), "\n")
	var g goroutine
	head, _ := strings.CutPrefix(lines[0], "goroutine ")
	head, state, _ := strings.Cut(head, " [")
	g.id = head
	for i, part := range strings.Split(strings.TrimSuffix(state, "]:"), ", ") {
		if i == 0 {
			g.state, g.durable = strings.CutSuffix(part, " (durable)")
		}
		if id, ok := strings.CutPrefix(part, "synctest bubble "); ok {
			g.bubble = id
		}
	}
	for i := 1; i+1 < len(lines); i += 2 {
		if creator, ok := strings.CutPrefix(lines[i], "created by "); ok {
			g.creator, _, _ = strings.Cut(creator, " in goroutine ")
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " +0x")
			g.at = filepath.Base(place)
			break
		}
		name := lines[i]
		if j := strings.LastIndexByte(name, '('); j > 0 {
			name = name[:j]
		}
		g.outer = name
	}
	return g
}

// bubbled returns the goroutines in the caller's bubble.
func bubbled() []goroutine {
	list := goroutines()
	var in []goroutine
	for _, g := range list {
		if g.bubble == list[0].bubble && g.bubble != "" {
			in = append(in, g)
		}
	}
	return in
}

// self parses the header of the caller's own stack.
func self() goroutine {
	var buf [128]byte
	head, _, _ := strings.Cut(string(buf[:runtime.Stack(buf[:], false)]), "\n")
	return parseGoroutine(head)
}

func goroutineID() string { return self().id }
func bubbleID() string    { return self().bubble }

// onCoroutine reports whether the caller runs in the coroutine of an iter.Pull,
// from which a panic passes to the puller as it is.
func onCoroutine() bool {
	for _, g := range goroutines()[:1] {
		return strings.HasPrefix(g.creator, "iter.Pull")
	}
	return false
}

const (
	glance   = 200 * time.Millisecond // between two looks at a bubble that takes long
	glances  = 5                      // looks that see the same deadlock before it counts
	patience = 2 * time.Minute        // for a bubble that is busy or waits for the world outside
)

// watch waits for done, and gives up where the bubble cannot come to rest. It
// then says why in a sentence.
//
// A bubble is at rest when each of its goroutines waits for another one. It never
// is while one waits for a mutex whose owner waits, or for something outside.
// Time is looked at here alone, and only of a bubble that has not ended: it
// decides when to stop waiting, never whether a stage passes.
func watch(done <-chan struct{}, bubble func() string) string {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	start, seen, last := time.Now(), 0, ""
	for {
		select {
		case <-done:
			return ""
		case <-tick.C:
		}
		where, blocked := unrest(bubble())
		if !blocked || where != last {
			seen = 0
		}
		last = where
		if seen++; blocked && seen >= glances {
			return "the stage's bubble never came to rest, as a mutex is held while a source, a callback or the body runs: " + where
		}
		if time.Since(start) > patience && where != "" {
			return fmt.Sprintf("the stage's bubble did not come to rest within %v: it spins, or waits for something outside of its bubble: %s",
				patience, where)
		}
	}
}

// unrest describes a goroutine that keeps the bubble from coming to rest.
// blocked reports that nothing in the bubble runs, and that one waits for a lock.
func unrest(bubble string) (where string, blocked bool) {
	blocked = true
	for _, g := range goroutines() {
		if g.bubble != bubble || bubble == "" || g.durable || g.state == "synctest.Wait" {
			continue
		}
		where = g.String()
		if !strings.HasPrefix(g.state, "sync.") {
			blocked = false
		}
	}
	return where, blocked && where != ""
}
