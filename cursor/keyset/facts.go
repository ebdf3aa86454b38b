package keyset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/internal/paging"
)

// keyFacts are what the catalog says of a key.
type keyFacts struct {
	unique   bool   // a unique index proves it
	identity string // the names, types and collations of its columns; "" where they are not known
	listed   bool   // the catalog told it

	// Where types have enums, what is left of identity without their labels, and those.
	frame  string
	labels []string

	columns []columnInfo // of the key, where they are known
	names   string       // what the names in the texts of a query stand for
}

// keyFacts returns what is known of the key of a query on one table.
func (s *spec) keyFacts(info *tableInfo) keyFacts {
	if info.unsure {
		return keyFacts{}
	}
	var names []string
	var columns []columnInfo
	for _, k := range s.key {
		name, ok := parseColumn(s.dialect, k)
		if !ok {
			return keyFacts{}
		}
		c := info.column(name)
		if c == nil {
			return keyFacts{}
		}
		names = append(names, c.name)
		columns = append(columns, *c)
	}
	f := s.factsOf(columns)
	f.unique, f.listed = !info.view && info.isUnique(names), true
	return f
}

// factsOf returns what the columns of a key say of it.
func (s *spec) factsOf(columns []columnInfo) keyFacts {
	f := keyFacts{columns: columns}
	var texts, frames []string
	for _, c := range columns {
		text, frame := c.name+" "+c.identity, c.name+" "+c.frame
		if c.zoned && s.layout == nil {
			text += " at " + s.zone
		}
		texts, frames = append(texts, text+s.readAt(&c)), append(frames, frame)
		f.labels = append(f.labels, c.labels...)
	}
	f.identity, f.frame = strings.Join(texts, ", "), strings.Join(frames, ", ")
	return f
}

// sameOrder reports whether rows that were there before a change are still in their order:
// nothing has changed, or enums have got labels between those that they had.
func (f keyFacts) sameOrder(now keyFacts) bool {
	if f.identity == now.identity {
		return true
	}
	if len(f.labels) == 0 || f.frame != now.frame {
		return false
	}
	left := f.labels
	for _, label := range now.labels {
		if len(left) > 0 && label == left[0] {
			left = left[1:]
		}
	}
	return len(left) == 0
}

// lookUp asks the catalog about the key, and what the names in a query stand for.
func (s *spec) lookUp(ctx context.Context) (keyFacts, error) {
	names, err := s.meaning(ctx)
	if err != nil {
		return keyFacts{}, err
	}
	f, err := s.lookUpKey(ctx)
	f.names = names
	return f, err
}

// lookUpKey asks the catalog about the key, and the database itself about one of which no
// catalog knows: that of a join or a query, or an expression.
func (s *spec) lookUpKey(ctx context.Context) (keyFacts, error) {
	table, single := parseFrom(s.dialect, s.from)
	if !single {
		return s.resultFacts(ctx)
	}
	info, err := s.dialect.describe(ctx, s.db, table)
	if errors.Is(err, errTemporary) || errors.Is(err, errNoTable) && (s.facts == nil || !s.facts.listed) { // there are things to read from that no catalog lists
		return s.resultFacts(ctx)
	}
	if err != nil {
		return keyFacts{}, err
	}
	if facts := s.keyFacts(info); facts.identity != "" {
		return facts, nil
	}
	return s.resultFacts(ctx)
}

// resultFacts returns what the database says of the key of a result.
func (s *spec) resultFacts(ctx context.Context) (keyFacts, error) {
	if len(s.key) == 0 {
		return keyFacts{}, nil
	}
	if s.dialect.keyTypes != nil {
		columns, err := s.dialect.keyTypes(ctx, s)
		return s.factsOf(columns), err
	}
	texts, err := s.dialect.identify(ctx, s)
	if err != nil {
		return keyFacts{}, err
	}
	for i, text := range texts {
		name := strings.TrimSpace(s.key[i])
		if s.layout != nil {
			name = s.layout.key[i].name
		}
		texts[i] = strings.TrimSpace(name + " " + text)
	}
	return keyFacts{identity: strings.Join(texts, ", ")}, nil
}

// meaning returns what the names in the texts of a query stand for, where that is not said by
// the texts.
func (s *spec) meaning(ctx context.Context) (string, error) {
	if s.dialect.meaning == nil || !s.textual() {
		return "", nil
	}
	texts := append([]string{s.from, s.where}, s.key...)
	if s.layout == nil {
		texts = append(texts, s.columns)
	}
	return s.dialect.meaning(ctx, s.db, strings.Join(texts, "\n"))
}

// textual reports whether somebody's SQL is part of the statements, and not only names that
// this package has looked up.
func (s *spec) textual() bool {
	_, single := parseFrom(s.dialect, s.from)
	return s.layout == nil || !single || strings.TrimSpace(s.where) != ""
}

// learn finds out, before the first statement, what statements need to know of the key, and
// what the texts of a query mean from now on.
func (s *spec) learn(ctx context.Context) error {
	if s.dialect.keyTypes == nil || len(s.key) == 0 {
		return nil
	}
	if s.facts == nil {
		facts, err := s.lookUp(ctx)
		if err != nil {
			return err
		}
		s.facts = &facts
	} else if s.facts.names == "" {
		names, err := s.meaning(ctx)
		if err != nil {
			return err
		}
		s.facts.names = names
	}
	return nil
}

// know finds out about the key, once a loop, before rows are handed over. A Table has been
// told when it was opened; then it only matters that a position is one in the order that
// there is now.
func (r *reader[T, P]) know(ctx context.Context, resumed bool) (err error) {
	s := r.spec
	switch {
	case r.known:
		return nil
	case s.facts == nil:
		var facts keyFacts
		if facts, err = s.lookUp(ctx); err == nil {
			s.facts = &facts
		}
	case resumed && s.layout != nil:
		err = r.knowAgain(ctx)
	}
	r.known = err == nil
	return err
}

// knowAgain looks whether rows are still compared as they were. Rows that were read
// before a change stand in another order than those behind it.
func (r *reader[T, P]) knowAgain(ctx context.Context) error {
	s := r.spec
	now, err := s.lookUp(ctx)
	if errors.Is(err, errNoTable) {
		return &rowError{paging.Final(fmt.Errorf("keyset: the table %s is gone: it was dropped or renamed while it was read, or may not be seen any more", s.from))}
	}
	if err != nil {
		return err
	}
	if !s.facts.sameOrder(now) {
		return &rowError{paging.Final(fmt.Errorf("%w: the key of %s is (%s) now and was (%s), which may sort the rows in another order: read it afresh",
			cursor.ErrMismatch, s.from, now.identity, s.facts.identity))}
	}
	if s.facts.names != now.names {
		return &rowError{paging.Final(fmt.Errorf("%w: the names in what is read of %s stand for (%s) now and stood for (%s), since the search path, what is in its schemas or a setting has changed: read it afresh",
			cursor.ErrMismatch, s.from, now.names, s.facts.names))}
	}
	r.moved = false
	if s.facts.unique && !now.unique {
		return &rowError{s.badKey("(%s) has lost its unique index while it was read", strings.Join(s.key, ", "))}
	}
	return nil
}

// checkUnique asks the database whether two rows of a page have one key, where no index
// rules it out. It is not for Go to say: the database may take for equal what is
// written in two ways, such as 1.0 and 1.00, or a and A. With the first of the two a
// position would be stored behind which the second is never found.
func (r *reader[T, P]) checkUnique(ctx context.Context, pg *paging.Page[T, P], after *P) error {
	s := r.spec
	if s.facts.unique || pg.Last == nil {
		return nil
	}
	over, err := r.twice(ctx, after, pg.Last)
	if err != nil || !over {
		return err
	}
	// The row at which that begins is found by its position: how many rows come before it
	// may have changed since the page was read.
	n, end := 0, len(pg.Items)-1
	for n < end {
		middle := n + (end-n)/2
		pos := r.position(&pg.Items[middle])
		if over, err = r.twice(ctx, after, &pos); err != nil {
			return err
		}
		if over {
			end = middle
		} else {
			n = middle + 1
		}
	}
	pos := r.position(&pg.Items[n])
	if n == 0 {
		pg.Last = nil
	} else {
		last := r.own(r.position(&pg.Items[n-1]))
		pg.Last = &last
	}
	pg.Fail(n, paging.ErrorDuplicate(pos))
	return nil
}

// twice reports whether two rows behind one position and up to another have one key.
func (r *reader[T, P]) twice(ctx context.Context, after, last *P) (bool, error) {
	s := r.spec
	st := &statement{s.dialect, slices.Clone(s.args)}
	behind, upTo := s.operators()
	low, err := compareKey(s, st, after, behind)
	if err != nil {
		return false, err
	}
	high, err := compareKey(s, st, last, upTo)
	if err != nil {
		return false, err
	}
	return queryAny(ctx, s.db, s.source("1")+s.condition(low, high)+" GROUP BY "+strings.Join(s.keyColumns, ", ")+" HAVING COUNT(*) > 1 LIMIT 1", st.args...)
}
