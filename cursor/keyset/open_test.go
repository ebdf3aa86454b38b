package keyset

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/pipeline/cursor"
	"example.com/pipeline/seq"
)

// A sheet is a database with one table, whose rows are ids in order. Reading a row
// takes a microsecond. A fault happens once, when the row of an id is to be read.
type sheet struct {
	ids   []int64
	fault int64
	fail  func(ctx context.Context) (driver.Value, error) // the id's value, or the error
	size  int                                             // bytes of a row beside its id
	lends bool                                            // its rows are a Lender
	lent  int

	open    atomic.Int32 // statements
	conns   int
	since   time.Time     // a statement is open
	longest time.Duration // that one was
	held    int           // times that the loop's body ran while one was open
}

func (s *sheet) Connect(context.Context) (driver.Conn, error) {
	s.conns++
	return &sheetConn{s}, nil
}
func (s *sheet) Driver() driver.Driver { return nil }

type sheetConn struct{ s *sheet }

func (c *sheetConn) Close() error                        { c.s.conns--; return nil }
func (c *sheetConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c *sheetConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

var (
	limitOf     = regexp.MustCompile(`LIMIT (\d+)`)
	conditionOf = regexp.MustCompile(`id ([<>=]+) \$(\d+)`)
)

func (c *sheetConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	s := c.s
	ids := slices.Clone(s.ids)
	for _, c := range conditionOf.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(c[2])
		at := args[n-1].Value.(int64)
		ids = slices.DeleteFunc(ids, func(id int64) bool {
			return !(id < at && c[1][0] == '<' || id > at && c[1][0] == '>' || id == at && strings.HasSuffix(c[1], "="))
		})
	}
	limit, _ := strconv.Atoi(limitOf.FindStringSubmatch(text)[1])
	ids = ids[:min(limit, len(ids))]
	if s.open.Add(1) == 1 {
		s.since = time.Now()
	}
	rows := &sheetRows{s, ctx, ids}
	if s.lends {
		return &lendingRows{sheetRows: rows}, nil
	}
	return rows, nil
}

type sheetRows struct {
	s   *sheet
	ctx context.Context
	ids []int64
}

func (r *sheetRows) Columns() []string { return []string{"id", "text"} }
func (r *sheetRows) Close() error {
	if r.s.open.Add(-1) == 0 {
		r.s.longest = max(r.s.longest, time.Since(r.s.since))
	}
	return nil
}
func (r *sheetRows) Next(dest []driver.Value) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if len(r.ids) == 0 {
		return io.EOF
	}
	time.Sleep(time.Microsecond)
	id := r.ids[0]
	r.ids = r.ids[1:]
	dest[0], dest[1] = id, strings.Repeat("x", r.s.size)
	if id == r.s.fault && r.s.fail != nil {
		fail := r.s.fail
		r.s.fail = nil
		v, err := fail(r.ctx)
		if dest[0] = v; err != nil {
			return err
		}
	}
	return nil
}

// lendingRows spoil what they have lent before with each row.
type lendingRows struct {
	*sheetRows
	id   Int
	text Text
}

func (r *lendingRows) Lend(dest []driver.Value) error {
	for i := range r.text {
		r.text[i] = '!'
	}
	r.id = -1
	r.s.lent++
	if err := r.sheetRows.Next(dest); err != nil {
		return err
	}
	if id, ok := dest[0].(int64); ok {
		r.id = Int(id)
		dest[0] = &r.id
	}
	r.text = append(r.text[:0], dest[1].(string)...)
	dest[1] = &r.text
	return nil
}

// A rowMode is what a row is made of.
type rowMode struct{ reuse, lends, encoded bool }

var rowModes = []rowMode{
	{}, {reuse: true}, {lends: true}, {reuse: true, lends: true},
	{encoded: true}, {encoded: true, reuse: true}, {encoded: true, lends: true}, {encoded: true, reuse: true, lends: true},
}

func (m rowMode) set(s *sheet, table *Table) {
	s.lends, table.Reuse = m.lends, m.reuse
	if m.encoded {
		table.Encode = encodeSheet
	}
}

func encodeSheet(dst []byte, values []any) ([]byte, error) {
	for _, v := range values {
		own, err := own(v)
		if err != nil {
			return nil, err
		}
		dst = fmt.Appendf(dst, "%v;", own)
	}
	return dst, nil
}

// A pace is how a loop goes about: it sleeps so long when it has the row of id.
type loopPace struct {
	name  string
	sleep func(id int64) time.Duration
	page  cursor.PageConfig
}

// The states of a page: whole, streaming to its end, and taken over at different places.
var paces = []loopPace{
	{"whole", nil, cursor.PageConfig{Size: 20, Max: 20, Hold: -1}},
	{"streaming", nil, cursor.PageConfig{Size: 20, Max: 20}},
	{"streaming that grows", nil, cursor.PageConfig{Size: 18, Target: time.Second}},
	{"taken in the first run", sleepAt(22, time.Second), cursor.PageConfig{Size: 20, Max: 20}},
	{"taken in the second run", sleepAt(33, 150*time.Millisecond), cursor.PageConfig{Size: 20, Max: 20}},
	{"taken little by little", func(int64) time.Duration { return 11 * time.Millisecond }, cursor.PageConfig{Size: 20, Max: 20}},
}

func sleepAt(at int64, d time.Duration) func(int64) time.Duration {
	return func(id int64) time.Duration {
		if id == at {
			return d
		}
		return 0
	}
}

const sheetRowsAll = 50 // more than two pages of 20, each longer than two runs

func init() { runRows = 8 }

func newSheet() *sheet {
	s := &sheet{}
	for id := range int64(sheetRowsAll) {
		s.ids = append(s.ids, id+1)
	}
	return s
}

// use opens the sheet's table and calls run, at whose end everything must be free.
func (s *sheet) use(t *testing.T, pace loopPace, run func(ctx context.Context, table *Table)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db := sql.OpenDB(s)
		info := &tableInfo{columns: []columnInfo{{name: "id", primary: 1, format: "%s"}, {name: "text", format: "%s"}},
			indexes: []indexInfo{{unique: true, columns: []indexColumn{{name: "id"}}}}}
		d := postgres
		d.session = nil // a sheet has no settings, and a catalog that never changes
		d.describe = func(context.Context, Querier, tableName) (*tableInfo, error) { return info, nil }
		l := &layout{dialect: &d, table: "t", alias: "t", info: info}
		l.key = l.info.columns[:1]
		l.choose(l.info.names())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		run(ctx, &Table{db: db, from: "t", key: []string{"id"}, down: []bool{false}, layout: l, Page: pace.page})
		if n := db.Stats().InUse; n != 0 || s.open.Load() != 0 {
			t.Errorf("%d connections are in use, %d statements open", n, s.open.Load())
		}
		if err := db.Close(); err != nil || s.conns != 0 {
			t.Errorf("%d connections are open, %v", s.conns, err)
		}
	})
}

// loop returns the ids of the rows, and the error at their end.
func (s *sheet) loop(ctx context.Context, pace loopPace, table *Table, body func(id int64)) (ids []int64, end error) {
	for row, err := range table.Stream(ctx, nil) {
		if err != nil {
			return ids, err
		}
		id := row.Key[0].(int64)
		ids = append(ids, id)
		text := strings.Repeat("x", s.size)
		if table.Encode == nil && !slices.Equal(row.Values, []any{id, text}) || table.Encode != nil && (row.Values != nil || string(row.Encoded) != fmt.Sprintf("%d;%s;", id, text)) {
			return ids, fmt.Errorf("row %d is %v %q", id, row.Values, row.Encoded)
		}
		if s.open.Load() > 0 {
			s.held++
		}
		if pace.sleep != nil {
			time.Sleep(pace.sleep(id))
		}
		if body != nil {
			body(id)
		}
	}
	return ids, nil
}

// eachFault runs check in each state of a page with a fault at each row, and with rows
// made in different ways, of which each fault has one: another one each time.
func eachFault(t *testing.T, check func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table)) {
	modes := []rowMode{{}, {reuse: true, lends: true}, {encoded: true, reuse: true, lends: true}}
	from := rand.Int64N(int64(len(modes)))
	for _, pace := range paces {
		t.Run(pace.name, func(t *testing.T) {
			t.Parallel()
			for at := int64(1); at <= sheetRowsAll; at++ {
				mode := modes[(from+at)%int64(len(modes))]
				s := newSheet()
				s.fault = at
				s.use(t, pace, func(ctx context.Context, table *Table) {
					mode.set(s, table)
					check(t, s, pace, ctx, table)
				})
				if t.Failed() {
					t.Fatalf("with a fault at row %d, %+v", at, mode)
				}
			}
		})
	}
}

func wantIDs(t *testing.T, got, want []int64) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the rows differ (-want +got):\n%s", diff)
	}
}

// TestOpenPages reads all rows in each state of a page, and makes sure that it is in it.
func TestOpenPages(t *testing.T) {
	for _, pace := range paces {
		for _, mode := range rowModes {
			s := newSheet()
			s.size = 5
			s.use(t, pace, func(ctx context.Context, table *Table) {
				mode.set(s, table)
				ids, err := s.loop(ctx, pace, table, nil)
				if err != nil {
					t.Error(err)
				}
				wantIDs(t, ids, s.ids)
			})
			if mode.lends != (s.lent > 0) {
				t.Errorf("%s: %+v: %d rows were lent", pace.name, mode, s.lent)
			}
			if whole := pace.page.Hold < 0 || strings.HasSuffix(pace.name, "little"); whole != (s.held == 0) {
				t.Errorf("%s: the body ran %d times while a statement was open", pace.name, s.held)
			}
			if limit := hold + time.Millisecond; s.longest > limit {
				t.Errorf("%s: a statement was open for %v", pace.name, s.longest)
			}
		}
	}
}

// TestOpenPageLost has the connection lost at each row: without Retry the stream ends
// behind the rows that were handed over, and with Retry it goes on there.
func TestOpenPageLost(t *testing.T) {
	lost := errors.New("connection lost")
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		fail := func(context.Context) (driver.Value, error) { return nil, lost }
		s.fail = fail
		ids, err := s.loop(ctx, pace, table, nil)
		if !errors.Is(err, lost) || int64(len(ids)) >= s.fault {
			t.Errorf("got %d rows, %v", len(ids), err)
		}
		wantIDs(t, ids, s.ids[:len(ids)])

		s.fail = fail
		var told []error
		table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
			for {
				err := op(ctx)
				if err == nil {
					return nil
				}
				told = append(told, err)
			}
		}
		ids, err = s.loop(ctx, pace, table, nil)
		if err != nil || len(told) != 1 || !errors.Is(told[0], lost) {
			t.Errorf("got %v, and Retry was told %v", err, told)
		}
		wantIDs(t, ids, s.ids)
	})
}

// TestOpenPageEncode has Encode fail and panic at each row: the rows before it come, and
// the stream ends with the error, or the panic.
func TestOpenPageEncode(t *testing.T) {
	odd := errors.New("odd")
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		for _, panics := range []bool{false, true} {
			table.Encode = func(dst []byte, values []any) ([]byte, error) {
				if id, _ := own(values[0]); id != s.fault {
					return encodeSheet(dst, values)
				}
				if panics {
					panic(odd)
				}
				return dst, odd
			}
			var ids []int64
			var err error
			func() {
				defer func() {
					if v := recover(); v != nil {
						err, _ = v.(error) // a *seq.PanicError unwraps to it
					}
				}()
				_, err = s.loop(ctx, pace, table, func(id int64) { ids = append(ids, id) })
			}()
			if !errors.Is(err, odd) {
				t.Errorf("panics %v: got %v", panics, err)
			}
			if !panics {
				wantIDs(t, ids, s.ids[:s.fault-1])
			}
		}
	})
}

// TestOpenPageContext ends ctx while a row is read, and in the loop's body.
func TestOpenPageContext(t *testing.T) {
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		cause := errors.New("enough")
		reading, cancel := context.WithCancelCause(ctx)
		s.fail = func(ctx context.Context) (driver.Value, error) {
			cancel(cause)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ids, err := s.loop(reading, pace, table, nil)
		if !errors.Is(err, cause) || !errors.Is(err, context.Canceled) || int64(len(ids)) >= s.fault {
			t.Errorf("got %d rows, %v", len(ids), err)
		}
		wantIDs(t, ids, s.ids[:len(ids)])

		s.fail = nil
		body, cancel := context.WithCancelCause(ctx)
		ids, err = s.loop(body, pace, table, func(id int64) {
			if id == s.fault {
				cancel(cause)
			}
		})
		if !errors.Is(err, cause) && s.fault != sheetRowsAll {
			t.Errorf("got %v", err)
		}
		wantIDs(t, ids, s.ids[:s.fault])
	})
}

// TestOpenPagePanic panics in the driver, and panics, calls Goexit and leaves in the
// loop's body, at each row.
func TestOpenPagePanic(t *testing.T) {
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		recovered := func(run func()) (v any) {
			defer func() { v = recover() }()
			run()
			return nil
		}
		s.fail = func(context.Context) (driver.Value, error) { panic("driver") }
		var ids []int64
		got := recovered(func() { s.loop(ctx, pace, table, func(id int64) { ids = append(ids, id) }) })
		if p, ok := got.(*seq.PanicError); got != "driver" && !(ok && p.Value == "driver") {
			t.Errorf("got %v", got)
		}
		wantIDs(t, ids, append([]int64(nil), s.ids[:len(ids)]...))

		got = recovered(func() {
			s.loop(ctx, pace, table, func(id int64) {
				if id == s.fault {
					panic("body")
				}
			})
		})
		if got != "body" {
			t.Errorf("got %v", got)
		}
		for row, err := range table.Stream(ctx, nil) {
			if err != nil || row.Key[0] == s.fault {
				break
			}
		}
	})
}

// TestOpenPageScan has a row that cannot be read: the rows before it come, and then a
// final error that no Retry is told of.
func TestOpenPageScan(t *testing.T) {
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		s.fail = func(context.Context) (driver.Value, error) { return nil, nil } // NULL
		table.Page.Retry = func(ctx context.Context, op func(context.Context) error) error {
			err := op(ctx)
			if err != nil {
				t.Errorf("Retry was told: %v", err)
			}
			return err
		}
		ids, err := s.loop(ctx, pace, table, nil)
		if err == nil || !strings.Contains(err.Error(), "NULL") {
			// The row behind a page is looked at, and read again with the next one.
			if err != nil || int64(len(ids)) != sheetRowsAll {
				t.Errorf("got %d rows, %v", len(ids), err)
			}
			return
		}
		wantIDs(t, ids, s.ids[:s.fault-1])
	})
}

// TestOpenPageDuplicate has two rows with one position at each place: neither is handed
// over.
func TestOpenPageDuplicate(t *testing.T) {
	eachFault(t, func(t *testing.T, s *sheet, pace loopPace, ctx context.Context, table *Table) {
		s.ids = slices.Insert(s.ids, int(s.fault), s.fault)
		ids, err := s.loop(ctx, pace, table, nil)
		if !errors.Is(err, cursor.ErrDuplicateKey) {
			t.Errorf("got %v", err)
		}
		wantIDs(t, ids, s.ids[:s.fault-1])
	})
}

// TestOpenPageBytes ends pages by their bytes at different places.
func TestOpenPageBytes(t *testing.T) {
	for _, pace := range paces {
		for bytes := 100; bytes < 8_000; bytes += 70 {
			s := newSheet()
			s.size = 50
			s.use(t, pace, func(ctx context.Context, table *Table) {
				table.Page.Bytes = bytes
				ids, err := s.loop(ctx, pace, table, nil)
				if err != nil {
					t.Errorf("%s, %d bytes: %v", pace.name, bytes, err)
				}
				wantIDs(t, ids, s.ids)
			})
		}
	}
}

// TestOpenPageKeepsRows keeps all rows of a table whose memory is not used again, and
// finds them as they were.
func TestOpenPageKeepsRows(t *testing.T) {
	for _, pace := range paces {
		s := newSheet()
		s.use(t, pace, func(ctx context.Context, table *Table) {
			var rows []Row
			for row, err := range table.Stream(ctx, nil) {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
			for i, row := range rows {
				if got := fmt.Sprint(row.Values[0], row.Key); got != fmt.Sprintf("%d [%[1]d]", i+1) {
					t.Fatalf("%s: row %d is now %s", pace.name, i+1, got)
				}
			}
		})
	}
}
