package seq

import "testing"

// As long as there is a job, who asks is told so, however fast others take the jobs
// before it: a worker goes to sleep on a no.
func TestQueueNeverDeniesAJob(t *testing.T) {
	for range 20 {
		const jobs = 2000
		var q queue[int]
		q.init(jobs, nil)
		for i := range jobs {
			q.add(i)
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
			if !q.any() {
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
	var q queue[int]
	q.init(jobs, nil)
	for i := range jobs {
		q.add(i)
	}
	q.close()
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
