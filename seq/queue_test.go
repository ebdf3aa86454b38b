package seq

import "testing"

// allStarted returns a queue for n workers that have been started already.
func allStarted(n int) *queue[int] {
	q := new(queue[int])
	q.init(new(pool), n)
	q.pool.init(n, nil, q.some)
	q.pool.started.Store(int32(n))
	return q
}

// As long as there is a job, who asks is told so, however fast others take the jobs
// before it: a worker goes to sleep on a no.
func TestQueueNeverDeniesAJob(t *testing.T) {
	for range 20 {
		const jobs = 2000
		q := allStarted(jobs)
		for i := range jobs {
			q.hand(i)
		}
		taken := Go(t.Context(), func() {
			take := q.taker(false)
			for i := range jobs - 1 {
				if j, ok := take(); j != i || !ok {
					t.Errorf("got job %d, %v, want %d", j, ok, i)
				}
			}
		})
		for ended := false; !ended; {
			select {
			case <-taken.Done():
				ended = true
			default:
			}
			if !q.some() {
				t.Fatal("a job was denied")
			}
		}
		taken.Join()
	}
}

// Jobs come out in order, each once, to whichever worker asks, and all of them also when
// the queue has been closed before.
func TestQueueIsDrainedAfterClose(t *testing.T) {
	const jobs = 8
	q := allStarted(jobs)
	for i := range jobs {
		q.hand(i)
	}
	q.pool.close()
	a, b := q.taker(false), q.taker(false)
	for i := range jobs {
		take := a
		if i%3 == 0 {
			take = b
		}
		if j, ok := take(); j != i || !ok {
			t.Errorf("got job %d, %v, want %d", j, ok, i)
		}
	}
	if _, ok := a(); ok {
		t.Error("there is one job too many")
	}
}
