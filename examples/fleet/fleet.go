package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"example.com/pipeline/seq"
)

// A fleet is the worker processes. Its methods may be called at once.
type fleet struct {
	ctx      context.Context
	cancel   context.CancelFunc // ends freezing
	freezing sync.WaitGroup
	config   string // of a worker

	mu      sync.Mutex
	running []*process
	stopped bool
	killed  int
	frozen  int
	died    int       // that nobody had killed
	pause   time.Time // before that no worker is started, since one has just died
}

// A process is a worker.
type process struct {
	cmd    *exec.Cmd
	ended  *seq.Task
	wanted bool // its end
	asleep bool
	err    error
}

func newFleet(ctx context.Context, c config) (*fleet, error) {
	text, err := json.Marshal(c)
	ctx, cancel := context.WithCancel(ctx)
	return &fleet{ctx: ctx, cancel: cancel, config: string(text)}, err
}

// start starts one more worker.
func (f *fleet) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workerVariable+"="+f.config)
	cmd.Stderr = os.Stderr
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd}
	p.ended = seq.Go(context.WithoutCancel(f.ctx), func() {
		p.err = cmd.Wait()
		f.gone(p)
	})
	f.running = append(f.running, p)
	return nil
}

// gone notes the end of a worker.
func (f *fleet) gone(p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, other := range f.running {
		if other == p {
			f.running = append(f.running[:i], f.running[i+1:]...)
			break
		}
	}
	if !p.wanted {
		f.died++
		f.pause = time.Now().Add(time.Second) // the database may be down
	}
}

// fill starts workers until there are n, unless one has just died.
func (f *fleet) fill(n int) error {
	for f.missing(n) {
		if err := f.start(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) missing(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.stopped && len(f.running) < n && !time.Now().Before(f.pause)
}

// pick returns one of the workers that are at work, or nil.
func (f *fleet) pick() *process {
	var awake []*process
	for _, p := range f.running {
		if !p.asleep && !p.wanted {
			awake = append(awake, p)
		}
	}
	if len(awake) == 0 {
		return nil
	}
	return awake[rand.IntN(len(awake))]
}

// kill kills a random worker, without a word to it.
func (f *fleet) kill() {
	f.mu.Lock()
	p := f.pick()
	if p != nil {
		p.wanted = true
		f.killed++
	}
	f.mu.Unlock()
	if p != nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		p.ended.Join()
	}
}

// freeze suspends a random worker for a while, and does not wait for it to wake.
func (f *fleet) freeze(d time.Duration) {
	if suspend != nil {
		f.freezing.Go(func() { f.sleep(d) })
	}
}

func (f *fleet) sleep(d time.Duration) {
	f.mu.Lock()
	p := f.pick()
	if p != nil {
		p.asleep = true
		f.frozen++
	}
	f.mu.Unlock()
	if p == nil || p.cmd.Process.Signal(suspend) != nil {
		return
	}
	select {
	case <-time.After(d):
	case <-f.ctx.Done():
	}
	_ = p.cmd.Process.Signal(resume)
	f.mu.Lock()
	p.asleep = false
	f.mu.Unlock()
}

// stop tells all workers to end, and waits for them.
func (f *fleet) stop() error {
	f.cancel()
	f.freezing.Wait()
	f.mu.Lock()
	f.stopped = true
	all := append([]*process(nil), f.running...)
	for _, p := range all {
		p.wanted = true
		_ = p.cmd.Process.Signal(terminate)
	}
	f.mu.Unlock()
	var err error
	for _, p := range all {
		p.ended.Join()
		// One that has just been started does not listen yet, and ends by the signal itself.
		if p.err != nil && terminate != os.Kill && p.err.Error() != "signal: "+terminate.String() {
			err = errors.Join(err, fmt.Errorf("fleet: worker %d: %w", p.cmd.Process.Pid, p.err))
		}
	}
	return err
}

// counts returns how many workers there are, and what became of others.
func (f *fleet) counts() (running, killed, frozen, died int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.running), f.killed, f.frozen, f.died
}
