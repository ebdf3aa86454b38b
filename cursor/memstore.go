package cursor

import (
	"context"
	"fmt"
	"sync"

	"example.com/pipeline/seq"
)

// A MemStore keeps records in memory: for tests, and for runs that need not
// survive the process. It behaves as the durable stores do. It is safe for
// concurrent use.
type MemStore struct {
	mu   sync.Mutex
	jobs map[string]*memJob
}

type memJob struct {
	record Record
	holder *memLease // nil: free
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore { return &MemStore{jobs: map[string]*memJob{}} }

// Acquire implements [Store].
func (s *MemStore) Acquire(ctx context.Context, job string) (Lease, error) {
	if err := CheckJob(job); err != nil {
		return nil, err
	}
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[job]
	if j == nil {
		j = &memJob{}
		s.jobs[job] = j
	}
	if j.holder != nil {
		return nil, errHeldHere(job)
	}
	j.holder = &memLease{store: s, name: job, job: j}
	return j.holder, nil
}

// A memLease is a job of a MemStore.
type memLease struct {
	store *MemStore
	name  string
	job   *memJob
}

// Load implements [Lease].
func (l *memLease) Load(context.Context) (Record, error) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if err := l.held(); err != nil {
		return Record{}, err
	}
	return l.job.record.clone(), nil
}

// Save implements [Lease].
func (l *memLease) Save(_ context.Context, r Record) error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if err := l.held(); err != nil {
		return err
	}
	if have := l.job.record.Seq; r.Seq != have+1 {
		return fmt.Errorf("%w: save %d of job %q was to follow save %d", ErrFenced, r.Seq, l.name, have)
	}
	l.job.record = r.clone()
	return nil
}

func (l *memLease) held() error {
	if l.job.holder != l {
		return fmt.Errorf("the lease of job %q: %w", l.name, ErrClosed)
	}
	return nil
}

// Release implements [Lease].
func (l *memLease) Release(context.Context) error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.job.holder == l {
		l.job.holder = nil
	}
	return nil
}

// Inspect implements [Inspector].
func (s *MemStore) Inspect(ctx context.Context, job string) (Record, error) {
	if err := seq.ContextError(ctx); err != nil {
		return Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[job]; j != nil {
		return j.record.clone(), nil
	}
	return Record{}, nil
}

// Jobs implements [Inspector].
func (s *MemStore) Jobs(ctx context.Context) ([]string, error) {
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var jobs []string
	for name, j := range s.jobs {
		if j.record.Seq > 0 {
			jobs = append(jobs, name)
		}
	}
	return jobs, nil
}

// Holder implements [Inspector].
func (s *MemStore) Holder(ctx context.Context, job string) (*LockedError, error) {
	if err := seq.ContextError(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[job]; j != nil && j.holder != nil {
		return errHeldHere(job), nil
	}
	return nil, nil
}

func errHeldHere(job string) *LockedError {
	return &LockedError{Job: job, Holder: "another runner of this process"}
}

var _ Inspector = (*MemStore)(nil)
