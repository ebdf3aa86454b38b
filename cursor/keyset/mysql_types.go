package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// mysqlCheckTypes refuses columns of the key that are sorted in another way than they are
// compared, or of which the driver makes something else.
func mysqlCheckTypes(ctx context.Context, s *spec, types []*sql.ColumnType) error {
	chars, short := false, false
	for i, t := range types {
		switch name := t.DatabaseTypeName(); name {
		case "ENUM", "SET":
			return s.badKey("%s is an %s, which is sorted in one way and compared in another; use a text or number", s.key[i], name)
		case "CHAR":
			chars, short = true, true
		case "VARCHAR", "BINARY", "VARBINARY":
			short = true
		case "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "JSON":
			s.sortsParts = true
		case "TIMESTAMP", "DATETIME":
			if err := s.checkZone(i, name); err != nil {
				return err
			}
		}
	}
	if s.sortsParts {
		s.sortBy(min(s.sorted, s.sortedOwn))
	}
	s.sortsParts = s.sortsParts || short && s.sorted < sortedBytes // an old MySQL
	if chars {
		return s.checkPadded(ctx)
	}
	return nil
}

// checkPadded refuses a CHAR under a NOPAD collation, which is sorted padded with blanks
// and compared without. The collation is that of an aggregate, which has a row where there
// are none.
func (s *spec) checkPadded(ctx context.Context) error {
	if s.layout != nil && !s.layout.info.view {
		for i, c := range s.layout.key {
			if c.padded {
				return s.badPadding(s.key[i], c.identity)
			}
		}
		return nil
	}
	list := make([]string, len(s.keyColumns))
	collations := make([]sql.NullString, len(list))
	dest := make([]any, len(list))
	for i, k := range s.keyColumns {
		list[i] = "COLLATION(MAX(" + k + "))"
		dest[i] = &collations[i]
	}
	err := queryEach(ctx, s.db, func(rows *sql.Rows) error { return rows.Scan(dest...) },
		s.source(strings.Join(list, ", "))+s.condition("1 = 0"), s.args...)
	if err != nil {
		return err
	}
	for i, c := range collations {
		if s.keyTypes[i].DatabaseTypeName() == "CHAR" && strings.Contains(c.String, "_nopad_") {
			return s.badPadding(s.key[i], "char "+c.String)
		}
	}
	return nil
}

func (s *spec) badPadding(name, typ string) error {
	return s.badKey("%s is a CHAR under a NOPAD collation (%s), which is sorted padded with blanks and compared without; use a VARCHAR, or a collation that pads", name, typ)
}

var fixedZone = pattern(`^[+-]\d\d:\d\d$`)

// checkZone refuses a time in the key of a Query where it is not found by what is read of
// it. The session's time zone may have an hour twice: the text of a TIMESTAMP would stand
// for two instants. The driver's has none of an hour each spring, where its clocks go on: it
// makes of those times the ones of another hour.
func (s *spec) checkZone(i int, typ string) error {
	if s.layout != nil {
		return nil
	}
	fixed := isUTC(s.zone) || fixedZone().MatchString(s.zone)
	if typ == "TIMESTAMP" && !fixed {
		return s.badKey("%s is a TIMESTAMP, and the time zone of the session (%s) may have an hour twice; connect with time_zone='+00:00'", s.key[i], s.zone)
	}
	if s.loc == nil {
		return nil
	}
	_, change := finally.In(s.loc).ZoneBounds()
	if !change.IsZero() {
		return s.badKey("%s is a %s, and in the time zone of the driver (loc=%s) there are hours that it has twice or not at all; connect with loc=UTC", s.key[i], typ, s.loc)
	}
	if typ == "TIMESTAMP" {
		zone, at := s.zone, offsetOf(s.loc)
		if isUTC(zone) {
			zone = "+00:00"
		}
		if zone != at {
			return s.badKey("%s is a TIMESTAMP, which the session has at %s and the driver takes to be at %s (loc=%s): they must be the same; connect with time_zone='%s'", s.key[i], zone, at, s.loc, at)
		}
	}
	return nil
}

// finally is a time at which a zone has its offset for good, if it ever has.
var finally = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// offsetOf returns how far a zone is from UTC in the end.
func offsetOf(loc *time.Location) string { return finally.In(loc).Format("-07:00") }

// readAt returns the driver's offset from UTC where a Query reads a column by it: a position
// that is stored as an instant would be another time of day at another offset.
func (s *spec) readAt(c *columnInfo) string {
	if s.loc == nil || s.layout != nil || !strings.HasPrefix(c.typ, "date") && !c.zoned || offsetOf(s.loc) == "+00:00" {
		return ""
	}
	return " read at " + offsetOf(s.loc)
}

// mysqlBound refuses a value of a position that the server would be given in another form
// than it is stored in.
func mysqlBound(s *spec, i int, v any) error {
	switch v := plain(v).(type) {
	case string:
		if v == "" && s.emptyIsNull {
			return fmt.Errorf("%w: with the sql_mode EMPTY_STRING_IS_NULL no row can be found behind an empty text, which %s has; connect without it", ErrSession, s.key[i])
		}
	case time.Time:
		if s.loc != nil && skipped(v, s.loc) {
			return s.badKey("%s is at a time near one that the time zone of the driver (loc=%s) passes over, so that it may stand for either; connect with loc=UTC", s.key[i], s.loc)
		}
	}
	return nil
}

// skipped reports whether a time may have been read of a text that the clocks of its zone
// never showed, since they were put forward then.
func skipped(t time.Time, loc *time.Location) bool {
	start, end := t.In(loc).ZoneBounds()
	for _, change := range []time.Time{start, end} {
		if change.IsZero() {
			continue
		}
		_, after := change.In(loc).Zone()
		_, before := change.Add(-time.Second).In(loc).Zone()
		if gap := time.Duration(after-before) * time.Second; t.Sub(change).Abs() <= gap {
			return true
		}
	}
	return false
}
