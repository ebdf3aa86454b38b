package keyset

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// holders returns how many loops hold the headroom, which is there for as long as one does.
func holders(t *testing.T) int {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if there := shared.room != nil; there != (shared.loops > 0) {
		t.Errorf("%d loops hold headroom: %t", shared.loops, there)
	}
	return shared.loops
}

// longSheet has more rows than it takes.
func longSheet(size int) *sheet {
	s := &sheet{size: size}
	for id := range int64(3 * headroomAfter) {
		s.ids = append(s.ids, id+1)
	}
	return s
}

// A loop holds the headroom once it has read enough small rows, and only for as long as it
// reads them, whatever way it ends.
func TestHeadroom(t *testing.T) {
	whole, open := cursor.PageConfig{Hold: -1}, cursor.PageConfig{}
	late := int64(2*headroomAfter - 100)
	for name, tt := range map[string]struct {
		page  cursor.PageConfig
		size  int
		limit int64 // of memory
		body  func(ctx context.Context, s *sheet, table *Table, id int64) (leave bool)
		want  int // holders at a late row
	}{
		"whole pages":      {page: whole, want: 1},
		"open pages":       {page: open, want: 1},
		"large rows":       {page: open, size: 3 * headroomRow, want: 0},
		"large rows, kept": {page: whole, size: 3 * headroomRow, want: 0},
		"a memory limit":   {page: open, limit: headroomLimit - 1, want: 0},
		"a page that is taken": {page: open, want: 0, body: func(_ context.Context, _ *sheet, _ *Table, id int64) bool {
			if id == late-1 {
				time.Sleep(time.Second)
			}
			return false
		}},
		"a break": {page: open, want: 1, body: func(_ context.Context, _ *sheet, _ *Table, id int64) bool { return id > late }},
		"a panic": {page: open, want: 1, body: func(_ context.Context, _ *sheet, _ *Table, id int64) bool {
			if id > late {
				panic("body")
			}
			return false
		}},
		"a loop in a loop": {page: open, want: 1, body: func(ctx context.Context, _ *sheet, table *Table, id int64) bool {
			if id == late-1 {
				inner := *table
				last := Key{late}
				for row, err := range inner.Stream(ctx, nil) {
					if err != nil {
						t.Error(err)
					}
					if row.Key.Equal(last) && holders(t) != 2 {
						t.Errorf("%d loops hold the headroom, want 2", holders(t))
					}
				}
			}
			return false
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.limit > 0 {
				defer debug.SetMemoryLimit(debug.SetMemoryLimit(tt.limit))
			}
			s := longSheet(tt.size)
			s.use(t, loopPace{page: tt.page}, func(ctx context.Context, table *Table) {
				reached := false
				defer func() {
					if v := recover(); v != nil && v != "body" {
						t.Errorf("panic: %v", v)
					}
					if !reached {
						t.Errorf("the loop ended before row %d", late)
					}
				}()
				for row, err := range table.Stream(ctx, nil) {
					if err != nil {
						t.Error(err)
						break
					}
					id := row.Key[0].(int64)
					if id == headroomAfter/2 && holders(t) != 0 {
						t.Errorf("headroom is held at row %d", id)
					}
					if tt.body != nil && tt.body(ctx, s, table, id) {
						break
					}
					if id != late {
						continue
					}
					if reached = true; holders(t) != tt.want {
						t.Errorf("%d loops hold the headroom, want %d", holders(t), tt.want)
					}
				}
			})
			if n := holders(t); n != 0 {
				t.Errorf("%d loops hold the headroom after their end", n)
			}
		})
	}
}

// A loop that goes in and out of what is small, or follows its table, does not allocate each
// time: what was held is held again.
func TestHeadroomIsHeldAgain(t *testing.T) {
	var r reader[Row, Key]
	r.passed(headroomAfter, 0, true)
	defer r.headroom.release()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		r.passed(1, 0, false)
		r.passed(1, 3*headroomRow, true)
		r.passed(1, headroomRow, true)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 20*headroomBytes {
		t.Errorf("it allocated %d bytes", got)
	}
	if n := holders(t); n != 1 {
		t.Errorf("%d loops hold the headroom", n)
	}
}
