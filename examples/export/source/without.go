package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/examples/export/advice"
)

// A table without a key that can be read by, because it has none or one that may be NULL
// or is a floating point number, is read in the order of
//
//   - its rowid, in SQLite;
//   - the places of its rows on the disk (ctid), in PostgreSQL 14 and newer, whose
//     planner reads ranges of them;
//   - nothing, anywhere else and for views: one statement reads all of it, and an
//     interrupted run begins anew.

// anew says what holds of a table in no order.
const anew = "all rows are read with one statement, and an export that is interrupted begins anew"

// withoutKey opens a table that has no usable key, for the reason why.
func (s *Source) withoutKey(ctx context.Context, name string, o Options, why error) (*Table, error) {
	reason := "no key to read it by"
	if text := why.Error(); !strings.Contains(text, "no primary key") {
		if _, told, ok := strings.Cut(text, keyset.ErrKey.Error()+": "); ok {
			reason = told
		}
	}
	if denied(why) {
		reason = "this user may not read its key"
	}
	orders, err := s.orders(ctx)
	if err != nil {
		return nil, err
	}
	for _, order := range orders {
		k, full, err := s.find(ctx, name, []string{string(order)})
		switch {
		case err != nil && (Passes(err) || ctx.Err() != nil):
			return nil, err
		case err != nil:
			continue // a view, or a partitioned table
		}
		t := &Table{Table: k, Name: full, Order: order, source: s}
		if err = t.prepare(ctx, o); errors.Is(err, keyset.ErrKey) || denied(err) { // a ctid is for those who may read all columns
			continue
		}
		if err == nil {
			err = t.describe(ctx, reason)
		}
		return t, err
	}
	return s.inNoOrder(ctx, name, o, reason)
}

// inNoOrder opens a table that is read with one statement.
func (s *Source) inNoOrder(ctx context.Context, name string, o Options, reason string) (*Table, error) {
	list := "*"
	if len(o.Columns) > 0 { // all of which the user may have no right to read
		quoted := make([]string, len(o.Columns))
		for i, c := range o.Columns {
			quoted[i] = s.Dialect.Quote(c)
		}
		list = strings.Join(quoted, ", ")
	}
	// A catalog has no place for a table in no order: any column will do to find its name.
	from, full, err := s.fromOf(ctx, name, list)
	if err != nil {
		return nil, err
	}
	k, err := keyset.OpenQuery(ctx, s.DB, s.Dialect, "SELECT "+list+" FROM "+from)
	if err != nil {
		return nil, err
	}
	t := &Table{Table: k, Name: full, Order: NoOrder, source: s}
	t.Note = fmt.Sprintf("%s: %s; %s", full, reason, anew)
	return t, t.prepare(ctx, o)
}

// fromOf returns the table as a statement names it, for one that reads the columns of a list.
func (s *Source) fromOf(ctx context.Context, name, list string) (from, full string, err error) {
	query := "SELECT " + list + " FROM "
	for _, candidate := range candidates(s.Dialect, name) {
		if err = s.try(ctx, query+candidate+" WHERE 1 = 0"); err == nil {
			return candidate, plain(name), nil
		}
	}
	return "", "", err
}

// candidates are the ways in which a name can be meant.
func candidates(d keyset.Dialect, name string) []string {
	if strings.HasPrefix(name, `"`) {
		var parts []string
		for part := range strings.SplitSeq(strings.Trim(name, `"`), `"."`) {
			parts = append(parts, d.Quote(strings.ReplaceAll(part, `""`, `"`)))
		}
		return []string{strings.Join(parts, ".")}
	}
	all := []string{d.Quote(name)}
	if schema, table, ok := strings.Cut(name, "."); ok {
		all = append(all, d.Quote(schema)+"."+d.Quote(table))
	}
	return all
}

// describe says what holds of the order, and takes what may not change into the
// fingerprint.
func (t *Table) describe(ctx context.Context, reason string) error {
	if t.Order == ByRowid {
		t.Note = fmt.Sprintf("%s: %s; its rows are read by their rowid, which VACUUM may change: do not run it until the export is complete", t.Name, reason)
		return nil
	}
	var err error
	if t.file, err = t.fileNode(ctx); err != nil {
		return err
	}
	t.Note = fmt.Sprintf("%s: %s; its rows are read where they lie (ctid). One that is updated meanwhile may come twice or not at all, "+
		"and after VACUUM FULL, CLUSTER or TRUNCATE the export begins anew", t.Name, reason)
	return nil
}

// orders returns those in which a database can read a table without a key. A server that
// cannot read ranges of ctids would read the table for each.
func (s *Source) orders(ctx context.Context) ([]Order, error) {
	switch s.System {
	case SQLite:
		return []Order{ByRowid}, nil
	case Postgres:
		var version int
		err := s.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version)
		if err != nil || version < 14_00_00 {
			return nil, err
		}
		return []Order{ByCtid}, nil
	}
	return nil, nil
}

// fileNode identifies the file that a table of PostgreSQL is in: another one has other
// rows at the same places.
func (t *Table) fileNode(ctx context.Context) (file int64, err error) {
	err = t.retry(ctx, func(ctx context.Context) error {
		return t.source.QueryRowContext(ctx, "SELECT pg_relation_filenode($1::regclass)::int8", t.From()).Scan(&file)
	})
	return file, err
}

// blocks returns how many blocks the table has.
func (t *Table) blocks(ctx context.Context) (n int64, err error) {
	err = t.retry(ctx, func(ctx context.Context) error {
		return t.source.QueryRowContext(ctx, "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::int8", t.From()).Scan(&n)
	})
	return n, err
}

// retry does what a page would do where something fails.
func (t *Table) retry(ctx context.Context, op func(context.Context) error) error {
	if t.Page.Retry == nil {
		return op(ctx)
	}
	return t.Page.Retry(ctx, op)
}

const (
	window     = 128    // blocks that are read with one statement: a megabyte
	windowRows = 50_000 // more than they hold
	lastItem   = 65535  // of a block
)

// block returns the position behind the last row of a block.
func block(n int64) *keyset.Key { return &keyset.Key{fmt.Sprintf("(%d,%d)", n, lastItem)} }

// byBlocks streams the rows by ranges of blocks. A page behind a ctid alone would have the
// server sort all that is behind it.
func (t *Table) byBlocks(ctx context.Context, r keyset.Range[keyset.Key]) iter.Seq2[keyset.Row, error] {
	return func(yield func(keyset.Row, error) bool) {
		if err := t.readBlocks(ctx, r, yield); err != nil {
			yield(keyset.Row{}, err)
		}
	}
}

func (t *Table) readBlocks(ctx context.Context, r keyset.Range[keyset.Key], yield func(keyset.Row, error) bool) error {
	blocks, err := t.blocks(ctx)
	if err != nil {
		return err
	}
	next, err := blockOf(r.After)
	if err != nil {
		return err
	}
	last := blocks // what is appended meanwhile is not read
	if r.Until != nil {
		if last, err = blockOf(r.Until); err != nil {
			return err
		}
	}
	part := *t.Table
	part.Page.Size, part.Page.Max = windowRows, windowRows
	for after := r.After; next <= last; next += window {
		part.Until = block(next + window - 1)
		if next+window > last {
			part.Until = block(last)
		}
		for row, err := range part.Stream(ctx, after) {
			if err != nil {
				return err
			}
			if !yield(row, nil) {
				return nil
			}
		}
		after = part.Until
	}
	file, err := t.fileNode(ctx)
	if err == nil && file != t.file {
		err = advice.New("Export it again from the beginning, with -restart.",
			"%w: %s was rewritten while it was read (VACUUM FULL, CLUSTER or TRUNCATE), so that its rows lie elsewhere", cursor.ErrMismatch, t.Name)
	}
	return err
}

// blockOf returns the block of a position, 0 for none.
func blockOf(pos *keyset.Key) (n int64, err error) {
	if pos == nil {
		return 0, nil
	}
	var item int
	if len(*pos) == 1 {
		if text, ok := (*pos)[0].(string); ok {
			if _, err := fmt.Sscanf(text, "(%d,%d)", &n, &item); err == nil {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%v is no ctid", *pos)
}

// splitBlocks cuts the table into ranges of the same number of blocks.
func (t *Table) splitBlocks(ctx context.Context, n int) (ranges []keyset.Range[keyset.Key], err error) {
	blocks, err := t.blocks(ctx)
	if err != nil {
		return nil, err
	}
	n = int(max(1, min(int64(n), blocks)))
	var after *keyset.Key
	for i := 1; i < n; i++ {
		bound := block(blocks*int64(i)/int64(n) - 1)
		ranges = append(ranges, keyset.Range[keyset.Key]{After: after, Until: bound})
		after = bound
	}
	return append(ranges, keyset.Range[keyset.Key]{After: after}), nil
}
