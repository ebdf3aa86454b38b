package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/pipeline/cursor/internal/sqlerr"
)

// A spec is what the statements of a [Query] or a [Table] are made of.
type spec struct {
	stage   string // for panics
	db      Querier
	dialect *dialect
	columns string // the select list
	from    string
	where   string
	hint    string
	args    []any
	key     []string
	down    []bool // for each column of the key, whether it goes down where the others go up
	desc    bool
	layout  *layout   // of a Table; nil of a Query
	facts   *keyFacts // nil as long as the catalog has not been asked

	// owned says that db is in a transaction of this package's own.
	owned bool

	// What the session's settings would change is read under settings of the statement's
	// own: prefix stands before its SELECT, and pin among its conditions.
	sessionKnown bool
	prefix, pin  string
	boundPin     string    // pin, where it stands in the bound of a page instead
	checks       []setting // what pin checks rather than sets
	hints        string    // stand in the comment for hints behind SELECT

	// Of MySQL and MariaDB.
	zone        string         // of the session
	loc         *time.Location // in which the driver reads times; nil where it does not
	emptyIsNull bool           // the server takes an empty text for NULL
	sorted      int            // how many bytes of a key it sorts by
	sortedOwn   int            // and how many it would in this session
	sortsParts  bool           // a key may have more; see checkSorted

	keyColumns []string          // the key, qualified where that is possible
	keyTypes   []*sql.ColumnType // nil where the dialect does not need them
	guard      string            // the condition that fails at a row without a position; see guard.go
}

// prepare finds out how the key columns stand in statements. It asks the database for
// their types where the dialect needs them.
func (s *spec) prepare(ctx context.Context) error {
	if err := s.session(ctx); err != nil {
		return err
	}
	s.keyColumns = s.qualifiedKey()
	if err := s.learn(ctx); err != nil {
		return err
	}
	if s.dialect.keySession != nil {
		if err := s.dialect.keySession(ctx, s); err != nil {
			return err
		}
	}
	if s.dialect.needsTypes {
		if err := s.prepareTypes(ctx); err != nil {
			return err
		}
	}
	if s.dialect.arrange == nil {
		return nil
	}
	return s.dialect.arrange(ctx, s)
}

func (s *spec) prepareTypes(ctx context.Context) error {
	types, err := s.columnTypes(ctx, strings.Join(s.keyColumns, ", "))
	if err != nil {
		return err
	}
	s.keyTypes = types
	return s.dialect.checkTypes(ctx, s, types)
}

// session makes what is read independent of the session's settings, or refuses it.
func (s *spec) session(ctx context.Context) error {
	if s.sessionKnown || s.dialect.session == nil {
		return nil
	}
	if err := s.dialect.session(ctx, s); err != nil {
		return err
	}
	s.sessionKnown = true
	return nil
}

// keyType returns the type of the ith key column, nil if it is not known.
func (s *spec) keyType(i int) *sql.ColumnType {
	if s.keyTypes == nil {
		return nil
	}
	return s.keyTypes[i]
}

// qualifiedKey returns the key columns with the table's name or alias before them
// where From is one table. ORDER BY id means the column id of the result where
// there is one, and that can be another thing than the column of the table.
func (s *spec) qualifiedKey() []string {
	keys := slices.Clone(s.key)
	table, ok := parseFrom(s.dialect, s.from)
	if !ok {
		return keys
	}
	for i, k := range keys {
		if plainName().MatchString(k) {
			keys[i] = table.alias + "." + strings.TrimSpace(k)
		}
	}
	return keys
}

// columnTypes returns what the database says of the columns of a select list.
func (s *spec) columnTypes(ctx context.Context, columns string) ([]*sql.ColumnType, error) {
	types, err := s.columnTypesOnce(ctx, columns)
	if state, _ := sqlerr.Code(err); state == "0A000" && s.sharesPool() { // the driver knew the statement from before a change
		types, err = s.columnTypesOnce(ctx, columns)
	}
	return types, err
}

func (s *spec) columnTypesOnce(ctx context.Context, columns string) ([]*sql.ColumnType, error) {
	rows, err := s.db.QueryContext(ctx, s.source(columns)+s.condition("1 = 0"), s.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for rows.Next() { // none; some drivers report errors only here
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return types, rows.Close()
}

// pooled reports whether statements run on a connection of a pool.
func (s *spec) pooled() bool {
	_, ok := s.db.(*sql.DB)
	return ok
}

// sharesPool reports whether each statement may run on another connection of a pool, which
// may be behind a type of the user's. Such a statement is a transaction of its own.
func (s *spec) sharesPool() bool {
	_, ok := s.db.(interface {
		Conn(context.Context) (*sql.Conn, error)
	})
	return ok
}

// source returns what stands between SELECT and WHERE.
func (s *spec) source(columns string) string {
	before, behind := "", strings.TrimSpace(s.hint)
	if strings.HasPrefix(behind, "/*") {
		before, behind = behind+" ", ""
	}
	if s.hints != "" { // there is one comment for all
		rest, ok := strings.CutPrefix(before, "/*+")
		if !ok {
			rest = "*/ " + before
		}
		before = "/*+ " + s.hints + " " + rest
	}
	if behind != "" {
		behind = " " + behind
	}
	return s.prefix + "SELECT " + before + columns + " FROM " + s.from + behind
}

// condition joins the user's condition and ours. The line break ends a comment that
// the user's condition may end with.
func (s *spec) condition(ours ...string) string {
	var all []string
	if s.pin != "" {
		all = append(all, s.pin)
	}
	if strings.TrimSpace(s.where) != "" {
		all = append(all, "("+s.where+"\n)")
	}
	for _, c := range ours {
		if c != "" {
			all = append(all, "("+c+")")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}

// A statement is put together from text and arguments.
type statement struct {
	dialect *dialect
	args    []any
}

// arg adds an argument and returns its placeholder.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return s.dialect.Placeholder(len(s.args))
}

// pageSQL returns the statement that reads limit rows behind one position and up to
// another.
func pageSQL[P any](s *spec, after, until *P, limit int) (string, []any, error) {
	return orderedSQL(s, s.columns, after, until, s.desc, limit, 0)
}

// orderedSQL is pageSQL with a select list and an order of its own, which passes over
// the first skip rows.
func orderedSQL[P any](s *spec, columns string, after, until *P, desc bool, limit, skip int) (string, []any, error) {
	st := &statement{s.dialect, slices.Clone(s.args)}
	behind, upTo := s.operators()
	conditions := *s
	if after != nil && s.canPinBound() {
		conditions.boundPin, conditions.pin = s.pin, ""
	}
	low, err := compareKey(&conditions, st, after, behind)
	if err != nil {
		return "", nil, err
	}
	high, err := compareKey(s, st, until, upTo)
	if err != nil {
		return "", nil, err
	}
	text := s.source(columns) + conditions.condition(low, high, s.guard) + " ORDER BY " + s.order(desc) + " LIMIT " + strconv.Itoa(limit)
	if skip > 0 {
		text += " OFFSET " + strconv.Itoa(skip)
	}
	return text, st.args, nil
}

// canPinBound reports whether the settings may be pinned in the bound of a page behind a
// position: see postgresPin. Nothing but that bound must be evaluated before a row is read
// that could depend on them, as a condition of the user's could, or a view's.
func (s *spec) canPinBound() bool {
	return s.pin != "" && s.layout != nil && !s.layout.info.view && s.layout.key[0].cast != "" &&
		strings.TrimSpace(s.where) == "" && !slices.Contains(s.down, true)
}

// operators returns what compares a key that is behind a position, and one that is at
// most at it.
func (s *spec) operators() (behind, upTo string) {
	if s.desc {
		return "<", ">="
	}
	return ">", "<="
}

// compareKey returns the comparison of the key with a position, "" for none, and
// adds the position's values to the statement's arguments.
func compareKey[P any](s *spec, st *statement, pos *P, op string) (string, error) {
	if pos == nil {
		return "", nil
	}
	values, err := positionValues(*pos, len(s.key))
	if err != nil {
		return "", fmt.Errorf("keyset: %s: %w", s.from, err)
	}
	for i, v := range values {
		if values[i], err = s.dialect.argument(v, s.keyType(i)); err != nil {
			return "", fmt.Errorf("keyset: %s, key column %s: %w", s.from, s.key[i], err)
		}
		if s.dialect.bound != nil {
			if err := s.dialect.bound(s, i, v); err != nil {
				return "", err
			}
		}
	}
	value := func(i int) string {
		param := s.dialect.param(st.arg(values[i]), s.keyType(i))
		if i == 0 && s.boundPin != "" {
			return "(SELECT CASE WHEN " + s.boundPin + " THEN " + param + "::" + s.layout.key[0].cast + " END)"
		}
		return param
	}
	columns := s.comparedColumns()
	switch {
	case op == "=":
		return compareRows(columns, op, value), nil
	case slices.Contains(s.down, true):
		return compareMixed(columns, s.down, op, value), nil
	}
	return s.dialect.compare(columns, op, value), nil
}

// comparedColumns returns the key as it stands in comparisons. PostgreSQL has no operators
// for a domain over an enum; its index is used for the enum, too.
func (s *spec) comparedColumns() []string {
	columns := slices.Clone(s.keyColumns)
	if s.facts != nil {
		for i, c := range s.facts.columns {
			if c.base != "" {
				columns[i] = "CAST(" + columns[i] + " AS " + c.base + ")"
			}
		}
	}
	return columns
}

// order returns the list for ORDER BY. No directions at all mean that all columns go up.
func (s *spec) order(desc bool) string {
	list := slices.Clone(s.keyColumns)
	for i := range list {
		if (len(s.down) > 0 && s.down[i]) != desc {
			list[i] += " DESC"
		}
	}
	return strings.Join(list, ", ")
}

// keyList returns the select list of the key columns.
func (s *spec) keyList() string {
	list := make([]string, len(s.keyColumns))
	for i, c := range s.keyColumns {
		list[i] = fmt.Sprintf(s.dialect.keyFormat, c)
		if s.layout != nil {
			list[i] = fmt.Sprintf(s.layout.key[i].format, c)
		}
	}
	return strings.Join(list, ", ")
}

// keyConversions returns what becomes of the key's values in a Key.
func (s *spec) keyConversions() []conversion {
	all := make([]conversion, len(s.keyColumns))
	for i := range all {
		all[i] = s.dialect.keyConversion(s.keyType(i))
		if s.layout != nil {
			all[i] = s.layout.conversions[s.layout.keyAt[i]]
		}
	}
	return all
}
