// Package cursortest checks implementations of the interfaces of package cursor, in
// the manner of testing/fstest: call it from a test of your own.
package cursortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// TestStore checks that a store keeps what [cursor.Store] and [cursor.Lease] promise.
// open returns the store under test; each call may return the same store or another
// opening of the same storage, as another process would have it. The jobs that it uses
// have names that begin with "cursortest"; none of them may be in the store before,
// and those that it makes are left there.
//
// A store that is a [cursor.Inspector], or seems to be one, is checked as such, too; one that
// is not may be none. A lease that can save in a transaction ([cursor.TxLease]) is checked in what it
// shares with the others. What no test can see, that a save survives a crash of the
// machine, is yours to ensure.
func TestStore(t *testing.T, open func() cursor.Store) {
	for _, check := range []struct {
		name string
		run  func(*checker)
	}{
		{"a new job has the zero record", (*checker).newJob},
		{"a record comes back as it was", (*checker).roundTrip},
		{"a record is the caller's own", (*checker).aliasing},
		{"a job has one holder", (*checker).exclusive},
		{"jobs are told apart", (*checker).jobNames},
		{"the seq is compared", (*checker).sequence},
		{"a released lease does nothing", (*checker).released},
		{"an ended context is an error", (*checker).context},
		{"a look inside needs no lease", (*checker).inspect},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(&checker{t, open}) })
	}
}

type checker struct {
	t    *testing.T
	open func() cursor.Store
}

// job returns a job's name that no other check has.
func (c *checker) job() string { return "cursortest " + c.t.Name() }

// acquire acquires a job that must be free. It is released when the test ends.
func (c *checker) acquire(job string) cursor.Lease {
	c.t.Helper()
	l, err := c.open().Acquire(c.t.Context(), job)
	if err != nil {
		c.t.Fatalf("Acquire of the free job %q: %v", job, err)
	}
	c.t.Cleanup(func() { l.Release(context.Background()) })
	return l
}

func (c *checker) load(l cursor.Lease) cursor.Record {
	c.t.Helper()
	r, err := l.Load(c.t.Context())
	if err != nil {
		c.t.Fatalf("Load: %v", err)
	}
	return r
}

func (c *checker) save(l cursor.Lease, r cursor.Record) {
	c.t.Helper()
	if err := l.Save(c.t.Context(), r); err != nil {
		c.t.Fatalf("Save of seq %d: %v", r.Seq, err)
	}
}

func (c *checker) release(l cursor.Lease) {
	c.t.Helper()
	if err := l.Release(c.t.Context()); err != nil {
		c.t.Fatalf("Release: %v", err)
	}
}

// record returns a record with something in each field.
func record(seq int64) cursor.Record {
	return cursor.Record{
		Format: 1, Fingerprint: "ä \"'%?$1\\", Position: json.RawMessage(`[9007199254740993,"é😀\u0000 ","<&>"]`),
		States: map[string]json.RawMessage{"a": json.RawMessage(`{"n":1}`), "A ": json.RawMessage(`null`)},
		Items:  1 << 60, Seq: seq, Finished: seq%2 == 0, SavedAt: time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC),
	}
}

// same compares what came back with what was saved.
func (c *checker) same(got, want cursor.Record, when string) {
	c.t.Helper()
	if got.Format != want.Format || got.Fingerprint != want.Fingerprint || got.Items != want.Items ||
		got.Seq != want.Seq || got.Finished != want.Finished || !got.SavedAt.Equal(want.SavedAt) ||
		!sameJSON(got.Position, want.Position) || !maps.EqualFunc(got.States, want.States, sameJSON) {
		c.t.Errorf("%s the record is\n%+v, want\n%+v", when, got, want)
	}
}

// sameJSON compares two texts but for the spaces between the tokens and the way that
// characters are escaped. Numbers must keep all their digits.
func sameJSON(a, b json.RawMessage) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	var texts [2][]byte
	for i, data := range []json.RawMessage{a, b} {
		var v any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			return false
		}
		texts[i], _ = json.Marshal(v) // what was decoded can be encoded
	}
	return bytes.Equal(texts[0], texts[1])
}

func (c *checker) newJob() {
	l := c.acquire(c.job())
	c.same(c.load(l), cursor.Record{}, "of a new job")
	c.release(l)
	c.same(c.load(c.acquire(c.job())), cursor.Record{}, "of a job that was acquired and released")
}

func (c *checker) roundTrip() {
	l := c.acquire(c.job())
	c.load(l)
	empty := cursor.Record{Format: 1, Seq: 3, SavedAt: time.Unix(0, 0).UTC()}
	large := record(4)
	large.Position, _ = json.Marshal(strings.Repeat("large ", 50_000)) // a string can be encoded
	for _, want := range []cursor.Record{record(1), record(2), empty, large} {
		c.save(l, want)
		c.same(c.load(l), want, "after Save")
		c.release(l)
		l = c.acquire(c.job())
		c.same(c.load(l), want, "acquired anew")
	}
}

func (c *checker) aliasing() {
	l := c.acquire(c.job())
	given := record(1)
	c.save(l, given)
	given.Position[0] = '!'
	given.States["a"] = json.RawMessage(`"changed"`)
	c.same(c.load(l), record(1), "after the saved one was changed")
	got := c.load(l)
	got.Position[0] = '!'
	got.States["a"] = json.RawMessage(`"changed"`)
	c.same(c.load(l), record(1), "after the loaded one was changed")
}

func (c *checker) exclusive() {
	l := c.acquire(c.job())
	c.save(l, record(1))
	if l2, err := c.open().Acquire(c.t.Context(), c.job()); !errors.Is(err, cursor.ErrLocked) {
		c.t.Errorf("a second Acquire returned %v, %v, want ErrLocked", l2, err)
	} else if !strings.Contains(err.Error(), c.job()) {
		c.t.Errorf("the error does not name the job: %v", err)
	}
	c.save(l, record(2)) // the holder goes on
	c.release(l)
	c.same(c.load(c.acquire(c.job())), record(2), "once the holder has gone")
}

func (c *checker) jobNames() {
	base := c.job()
	names := []string{base, strings.ToUpper(base), base + " ", base + "/a", base + "\\a", base + "/../a", base + ".", base + "é", base + "e\u0301",
		base + "%", base + "'\"`;--", base + "😀", base + strings.Repeat("x", 400-len(base)) + "1", base + strings.Repeat("x", 400-len(base)) + "2"}
	for i, name := range names { // all at once
		c.save(c.acquire(name), cursor.Record{Format: 1, Seq: 1, Items: int64(i)})
	}
	for i, name := range names {
		if _, err := c.open().Acquire(c.t.Context(), name); !errors.Is(err, cursor.ErrLocked) {
			c.t.Errorf("job %d, %q, is not held: %v", i, name, err)
		}
	}
	for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("x", 513)} {
		if _, err := c.open().Acquire(c.t.Context(), name); err == nil {
			c.t.Errorf("Acquire of a job that CheckJob refuses, %q", name)
		}
	}
}

func (c *checker) sequence() {
	l := c.acquire(c.job())
	c.load(l)
	c.save(l, record(1))
	c.save(l, record(2))
	for _, seq := range []int64{0, 1, 2, 4} {
		if err := l.Save(c.t.Context(), record(seq)); !errors.Is(err, cursor.ErrFenced) {
			c.t.Errorf("Save of seq %d after 2 returned %v, want ErrFenced", seq, err)
		}
	}
	c.same(c.load(l), record(2), "after saves that were refused")
	c.save(l, record(3))
}

func (c *checker) released() {
	old := c.acquire(c.job())
	c.save(old, record(1))
	c.release(old)
	c.release(old) // once more does no harm
	if _, err := old.Load(c.t.Context()); err == nil {
		c.t.Error("Load of a released lease succeeded")
	}
	if err := old.Save(c.t.Context(), record(2)); err == nil {
		c.t.Error("Save of a released lease succeeded")
	}
	l := c.acquire(c.job())
	c.release(old)
	if _, err := c.open().Acquire(c.t.Context(), c.job()); !errors.Is(err, cursor.ErrLocked) {
		c.t.Errorf("a released lease freed its successor's job: %v", err)
	}
	c.same(c.load(l), record(1), "after a released lease was used")
}

func (c *checker) context() {
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	if l, err := c.open().Acquire(ctx, c.job()); err == nil {
		l.Release(c.t.Context())
		c.t.Error("Acquire under a context that has ended succeeded")
	} else if !errors.Is(err, context.Canceled) {
		c.t.Errorf("Acquire under a context that has ended returned %v", err)
	}
	c.acquire(c.job()) // and holds nothing
}

// inspect looks at a job before, while and after somebody has it.
func (c *checker) inspect() {
	ctx := c.t.Context()
	if _, ok := c.open().(cursor.Inspector); !ok {
		if _, err := cursor.Inspect(ctx, c.open(), c.job()); err == nil {
			c.t.Error("Inspect of a store that is no Inspector succeeded")
		}
		return
	}
	look := func(want cursor.Record, held bool, when string) {
		c.t.Helper()
		got, err := cursor.Inspect(ctx, c.open(), c.job())
		if err != nil {
			c.t.Errorf("Inspect %s: %v", when, err)
		}
		c.same(got, want, "looked at "+when)
		jobs, err := cursor.Jobs(ctx, c.open())
		if n := count(jobs, c.job()); err != nil || (n == 1) != (want.Seq > 0) {
			c.t.Errorf("%s Jobs has the job %d times, %v", when, n, err)
		}
		holder, err := cursor.Holder(ctx, c.open(), c.job())
		if err != nil || (holder != nil) != held || held && (holder.Job != c.job() || holder.Holder == "") {
			c.t.Errorf("%s Holder is %v, %v", when, holder, err)
		}
	}
	look(cursor.Record{}, false, "before it is there")
	l := c.acquire(c.job())
	c.load(l)
	look(cursor.Record{}, true, "before it is saved")
	for seq := range int64(2) {
		c.save(l, record(seq+1))
		look(record(seq+1), true, "while it is held")
	}
	c.same(c.load(l), record(2), "after it was looked at")
	c.save(l, record(3))
	c.release(l)
	look(record(3), false, "when it is free")
	got, err := cursor.Inspect(ctx, c.open(), c.job())
	if err != nil {
		c.t.Fatal(err)
	}
	got.Position[0] = '!'
	got.States["a"] = json.RawMessage(`"changed"`)
	look(record(3), false, "after what was returned was changed")

	newer := record(4)
	newer.Format = 1 << 20
	l = c.acquire(c.job())
	c.load(l)
	c.save(l, newer)
	if r, err := cursor.Inspect(ctx, c.open(), c.job()); !errors.Is(err, cursor.ErrCorrupt) || r.Seq != 0 {
		c.t.Errorf("Inspect of a newer format returned %+v, %v, want ErrCorrupt", r, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := cursor.Inspect(ended, c.open(), c.job()); !errors.Is(err, context.Canceled) {
		c.t.Errorf("Inspect under a context that has ended returned %v", err)
	}
	if _, err := cursor.Jobs(ended, c.open()); !errors.Is(err, context.Canceled) {
		c.t.Errorf("Jobs under a context that has ended returned %v", err)
	}
	if _, err := cursor.Inspect(ctx, c.open(), ""); err == nil {
		c.t.Error("Inspect of a job that CheckJob refuses succeeded")
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}
