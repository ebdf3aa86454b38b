package keyset

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"example.com/pipeline/cursor"
)

// TestOpenPageRetry has policies around a page that do more with it than to call it once,
// and to hand on what it returns.
func TestOpenPageRetry(t *testing.T) {
	refused := errors.New("refused")
	type op = func(context.Context) error
	for _, c := range []struct {
		name  string
		retry func(ctx context.Context, op op) error
		want  string // the end of the stream; "" for none
	}{
		{"twice", func(ctx context.Context, op op) error { return errors.Join(op(ctx), op(ctx)) }, ""},
		{"twice at once", func(ctx context.Context, op op) error {
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- op(ctx) }()
			go func() { second <- op(ctx) }()
			return errors.Join(<-first, <-second)
		}, ""},
		{"one of two", func(ctx context.Context, op op) error {
			done := make(chan error, 2)
			go func() { done <- op(ctx) }()
			go func() { done <- op(ctx) }()
			return <-done
		}, ""},
		{"never", func(context.Context, op) error { return nil }, "no page was read"},
		{"under a context that ends with it", func(ctx context.Context, op op) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return op(ctx)
		}, ""},
		{"without waiting for it", func(ctx context.Context, op op) error {
			go op(ctx)
			return refused
		}, "refused"},
	} {
		for _, pace := range paces {
			s := newSheet()
			s.use(t, pace, func(ctx context.Context, table *Table) {
				table.Page.Retry = c.retry
				ids, err := s.loop(ctx, pace, table, nil)
				if c.want == "" {
					wantIDs(t, ids, s.ids)
				}
				if fmt.Sprint(err) != map[bool]string{true: "<nil>"}[c.want == ""] && !(c.want != "" && err != nil && strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s, %s: got %v", c.name, pace.name, err)
				}
			})
		}
	}
}

// TestOpenPageRefused has a policy that refuses a page which was read, the second one,
// in two ways: it is closed all the same.
func TestOpenPageRefused(t *testing.T) {
	refused := errors.New("refused")
	for _, pace := range paces {
		for _, panics := range []bool{false, true} {
			s := newSheet()
			s.use(t, pace, func(ctx context.Context, table *Table) {
				pages := 0
				table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
					if err := op(ctx); err != nil {
						return err
					}
					if pages++; pages < 2 {
						return nil
					}
					if panics {
						panic(refused)
					}
					return refused
				}
				var err error
				func() {
					defer func() {
						if v := recover(); v != nil {
							err = v.(error)
						}
					}()
					_, err = s.loop(ctx, pace, table, nil)
				}()
				if !errors.Is(err, refused) {
					t.Errorf("%s: got %v", pace.name, err)
				}
			})
		}
	}
}

// TestOpenPagePositionPanics has Position panic at each of its calls.
func TestOpenPagePositionPanics(t *testing.T) {
	for _, pace := range paces {
		over := false
		for at := 1; !over; at++ {
			s := newSheet()
			s.use(t, pace, func(ctx context.Context, table *Table) {
				rows := stream(ctx, table.spec(), table.Page, nil, nil, func(spec *spec) *reader[Row, Key] {
					r, calls := table.reader(spec), 0
					r.position = func(row *Row) Key {
						if calls++; calls == at {
							panic("position")
						}
						return row.Key
					}
					return r
				})
				defer func() { recover() }()
				for row, err := range rows {
					if err != nil {
						t.Error(err)
						return
					}
					if pace.sleep != nil {
						time.Sleep(pace.sleep(row.Key[0].(int64)))
					}
				}
				over = true
			})
			if t.Failed() {
				t.Fatalf("%s, in call %d", pace.name, at)
			}
		}
	}
}

// TestOpenPageLeftWhileRead leaves the loop while the keeper, or a prefetch, waits for a row
// that does not come: the statement is cancelled. Nothing else would end the wait.
func TestOpenPageLeftWhileRead(t *testing.T) {
	for _, c := range []struct {
		page   cursor.PageConfig
		faults []int64
	}{
		{cursor.PageConfig{Size: 20, Max: 20}, []int64{29, 33, 40}},
		{cursor.PageConfig{Size: 20, Max: 20, Hold: -1, Prefetch: 0.05}, []int64{42, 45, 50}},
	} {
		for _, fault := range c.faults {
			s := newSheet()
			s.fault = fault
			s.fail = func(ctx context.Context) (driver.Value, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			s.use(t, loopPace{page: c.page}, func(ctx context.Context, table *Table) {
				for row, err := range table.Stream(context.WithoutCancel(ctx), nil) {
					if err != nil {
						t.Error(err)
					}
					if row.Key[0] == int64(22) {
						time.Sleep(time.Second)
						break
					}
				}
			})
			if s.fail != nil {
				t.Errorf("row %d was not read", fault)
			}
		}
	}
}

// TestOpenPageStats adds up what OnPage is told, also of pages that break off.
func TestOpenPageStats(t *testing.T) {
	lost := errors.New("connection lost")
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		s.fail = func(context.Context) (driver.Value, error) { return nil, lost }
		rows, took := 0, time.Duration(0)
		table.Page.OnPage = func(p cursor.PageStats) { rows, took = rows+p.Rows, took+p.Took }
		table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
			for op(ctx) != nil {
			}
			return nil
		}
		if _, err := s.loop(ctx, pace, table, nil); err != nil {
			t.Error(err)
		}
		if rows != sheetRowsAll || took < sheetRowsAll*time.Microsecond {
			t.Errorf("OnPage was told of %d rows in %v", rows, took)
		}
	})
}

// TestOpenPageUntil follows a table up to a row that is there: the stream does not wait for
// another look behind it.
func TestOpenPageUntil(t *testing.T) {
	for _, pace := range paces {
		for until := int64(1); until < sheetRowsAll; until++ {
			s := newSheet()
			s.use(t, pace, func(ctx context.Context, table *Table) {
				table.Until, table.Page.Follow = &Key{until}, time.Hour
				began := time.Now()
				ids, err := s.loop(ctx, pace, table, nil)
				if err != nil || time.Since(began) > time.Minute {
					t.Errorf("%s, until %d: it took %v, %v", pace.name, until, time.Since(began), err)
				}
				wantIDs(t, ids, s.ids[:until])
			})
		}
	}
}

// TestOpenPagesAreFreed reads many pages and makes sure that the memory of most is free some
// pages later. Some blocks of rows are in use, by a position and by what is read.
func TestOpenPagesAreFreed(t *testing.T) {
	for _, pace := range paces {
		s := newSheet()
		for id := range int64(500) {
			s.ids = append(s.ids, sheetRowsAll+id+1)
		}
		s.use(t, pace, func(ctx context.Context, table *Table) {
			var early []weak.Pointer[any]
			for row, err := range table.Stream(ctx, nil) {
				if err != nil {
					t.Fatal(err)
				}
				id := row.Key[0].(int64)
				if pace.sleep != nil {
					time.Sleep(pace.sleep(id))
				}
				if id < 400 {
					early = append(early, weak.Make(&row.Values[0]))
				}
				if id == 500 {
					runtime.GC()
					early = slices.DeleteFunc(early, func(row weak.Pointer[any]) bool { return row.Value() == nil })
					if len(early) > 4*rowsPerSlab {
						t.Errorf("%s: the memory of %d early rows is still in use", pace.name, len(early))
					}
				}
			}
		})
	}
}

// TestOpenPageTooLate ends the context of a try with the last of the rows that it reads.
// That is the end of this try, rather than of the page.
func TestOpenPageTooLate(t *testing.T) {
	s, pace := newSheet(), loopPace{page: cursor.PageConfig{Size: 20, Max: 20}}
	s.fault = int64(20 + runRows)
	s.use(t, pace, func(ctx context.Context, table *Table) {
		var tries []error
		table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
			for {
				try, cancel := context.WithCancel(ctx)
				s.fail = func(context.Context) (driver.Value, error) {
					cancel()
					return s.fault, nil
				}
				if len(tries) > 1 {
					s.fail = nil
				}
				err := op(try)
				tries = append(tries, err)
				if cancel(); err == nil {
					return nil
				}
			}
		}
		ids, err := s.loop(ctx, pace, table, nil)
		wantIDs(t, ids, s.ids)
		if got := fmt.Sprint(tries, err); got != "[<nil> keyset: read t: context canceled <nil> <nil>] <nil>" {
			t.Errorf("the tries ended with %s", got)
		}
	})
}
