package dbtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
)

// TestWaitForADeadRunner has the job when the lease of a runner that was killed has ended:
// nobody renews it, and nobody frees it. The run goes on where the dead one had committed.
func TestWaitForADeadRunner(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db)
		c := openJob(t, s, "job")
		if err := c.Commit(t.Context(), 41); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(700 * time.Millisecond) // the database runs on this machine
		exec(t, db.DB, fmt.Sprintf("UPDATE pipeline_checkpoints SET owner = 'dead', holder = 'a dead runner', lease_until = %d WHERE job = 'job'", until.UnixMicro()))
		var told []cursor.LockedError
		c = openJob(t, s, "job", cursor.WaitFor(time.Minute, func(held *cursor.LockedError) { told = append(told, *held) }))
		if now := time.Now(); now.Before(until.Truncate(time.Millisecond)) { // SQLite's clock has milliseconds
			t.Errorf("it had the job %v before the lease's end", until.Sub(now))
		}
		if len(told) != 1 || told[0].Holder != "a dead runner" || told[0].Until.UnixMicro() != until.UnixMicro() {
			t.Errorf("told of %+v, want the dead runner, until %v", told, until)
		}
		if position(c) != 41 {
			t.Errorf("the position is %d", position(c))
		}
		if err := c.Commit(t.Context(), 42); err != nil {
			t.Error(err)
		}
	})
}

// TestWaitForALivingRunner has the job long before the lease would end, since its runner
// frees it.
func TestWaitForALivingRunner(t *testing.T) {
	withEachDB(t, func(t *testing.T, db database) {
		s := newStore(t, db, sqlstore.LeaseFor(time.Hour))
		first := openJob(t, s, "job")
		told := 0
		second := openJob(t, s, "job", cursor.WaitFor(time.Minute, func(held *cursor.LockedError) {
			told++
			if left := time.Until(held.Until); left < 50*time.Minute {
				t.Errorf("the lease ends in %v, want an hour", left)
			}
			if err := errors.Join(first.Commit(t.Context(), 7), first.Close()); err != nil {
				t.Error(err)
			}
		}))
		if told != 1 || position(second) != 7 {
			t.Errorf("told %d times, the position is %d", told, position(second))
		}
	})
}
