package cursortest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/cursortest"
)

func TestFileStore(t *testing.T) {
	dir := t.TempDir()
	cursortest.TestStore(t, func() cursor.Store {
		s, err := cursor.NewFileStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestMemStore(t *testing.T) {
	s := cursor.NewMemStore()
	cursortest.TestStore(t, func() cursor.Store { return s })
}

// A broken store is a MemStore with one fault.
type broken struct {
	cursor.Store
	fault string
}

type brokenLease struct {
	cursor.Lease
	fault string
	last  cursor.Record
}

func (s broken) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	switch s.fault {
	case "ignores case":
		job = strings.ToLower(job)
	case "cuts names":
		job = job[:min(len(job), 255)]
	case "never locks":
		return (&leaky{}).Acquire(ctx, job)
	case "ignores ctx":
		ctx = context.WithoutCancel(ctx)
	case "takes any name":
		if cursor.CheckJob(job) != nil {
			job = "any"
		}
	}
	l, err := s.Store.Acquire(ctx, job)
	return &brokenLease{Lease: l, fault: s.fault}, err
}

// The store looks inside as the MemStore does, unless that is its fault.
func (s broken) Inspect(ctx context.Context, job string) (cursor.Record, error) {
	switch s.fault {
	case "needs the lease":
		l, err := s.Store.Acquire(ctx, job)
		if err != nil {
			return cursor.Record{}, err
		}
		defer l.Release(ctx)
		return l.Load(ctx)
	case "refuses what is not there":
		r, err := cursor.Inspect(ctx, s.Store, job)
		if err == nil && r.Seq == 0 {
			err = errors.New("no such job")
		}
		return r, err
	}
	return cursor.Inspect(ctx, s.Store, job)
}

func (s broken) Jobs(ctx context.Context) ([]string, error) {
	jobs, err := cursor.Jobs(ctx, s.Store)
	switch s.fault {
	case "lists twice":
		jobs = append(jobs, jobs...)
	case "lists none":
		jobs = nil
	}
	return jobs, err
}

func (s broken) Holder(ctx context.Context, job string) (*cursor.LockedError, error) {
	held, err := cursor.Holder(ctx, s.Store, job)
	if s.fault == "hides the holder" {
		held = nil
	}
	return held, err
}

// A leaky store gives every job to everybody.
type leaky struct{}

func (*leaky) Acquire(ctx context.Context, job string) (cursor.Lease, error) {
	return cursor.NewMemStore().Acquire(ctx, job)
}

func (l *brokenLease) Save(ctx context.Context, r cursor.Record) error {
	switch l.fault {
	case "forgets":
		return nil
	case "loses states":
		r.States = nil
	case "loses digits":
		r.Position = []byte(strings.ReplaceAll(string(r.Position), "9007199254740993", "9007199254740992"))
	case "loses nanoseconds":
		r.SavedAt = r.SavedAt.Truncate(1000)
	case "compares no seq":
		have, err := l.Lease.Load(ctx)
		if err != nil {
			return err
		}
		r.Seq = have.Seq + 1
	case "aliases":
		l.last = r
	}
	return l.Lease.Save(ctx, r)
}

func (l *brokenLease) Load(ctx context.Context) (cursor.Record, error) {
	if l.fault == "aliases" && l.last.Seq > 0 {
		return l.last, nil
	}
	return l.Lease.Load(ctx)
}

func (l *brokenLease) Release(ctx context.Context) error {
	if l.fault == "keeps" {
		return nil
	}
	return l.Lease.Release(ctx)
}

// TestBrokenStores runs the checks on stores with a fault each, in a process of its
// own, where they must fail; and on one without, where they must not.
func TestBrokenStores(t *testing.T) {
	const variable = "CURSORTEST_FAULT"
	if fault := os.Getenv(variable); fault != "" {
		s := broken{cursor.NewMemStore(), fault}
		cursortest.TestStore(t, func() cursor.Store { return s })
		return
	}
	for _, fault := range []string{"none", "ignores case", "cuts names", "never locks", "ignores ctx", "takes any name", "forgets",
		"loses states", "loses digits", "loses nanoseconds", "compares no seq", "aliases", "keeps",
		"needs the lease", "refuses what is not there", "lists twice", "lists none", "hides the holder"} {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenStores$")
			cmd.Env = append(os.Environ(), variable+"="+fault)
			out, err := cmd.CombinedOutput()
			if fault == "none" && err != nil || fault != "none" && !strings.Contains(string(out), "--- FAIL") {
				t.Errorf("the checks ended with %v:\n%s", err, out)
			}
		})
	}
}
