package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// What a server makes of a value can depend on settings of the session, which a role, a
// database or whoever had the connection before has set. A page is read under settings of
// its own instead, which end with its statement and cost no round trip.

// A setting is one of PostgreSQL's that changes what is read, and the value it is pinned to.
type setting struct {
	name, value string
	fits        func(value string) bool // what else will do; nil: nothing
}

// postgresSettings are what pg_dump pins of those that change values, and the time zone.
var postgresSettings = []setting{
	{"datestyle", "ISO", func(v string) bool { return strings.HasPrefix(v, "ISO") }},
	{"intervalstyle", "postgres", nil},
	{"extra_float_digits", "3", func(v string) bool { return v == "1" || v == "2" }}, // all the same since 12
	{"bytea_output", "hex", nil},
	{"timezone", "UTC", isUTC},
	{"xmlbinary", "base64", nil},
}

// postgresLocale is pinned, too. What it changes is no text of a table's but that of money.
var postgresLocale = []setting{{"lc_monetary", "C", nil}, {"lc_numeric", "C", nil}, {"lc_time", "C", nil}}

// postgresPin is a condition that holds, and pins the settings for the transaction that
// the statement is. It refers to no row, so the server evaluates it once and before it
// reads any: as a gating filter, whose subquery is an initial plan. Text in another
// encoding than UTF-8 would not be what is stored; the name that is given there is none
// of an encoding, so the server says so.
//
// The server passes each row through the gate, which takes it nearly as long as to find
// the row. So where the page of a table begins behind a position the condition stands in
// the subquery of that bound, which is evaluated as early, when the scan of the index
// begins, and once.
var postgresPin = func() string {
	calls := []string{"CASE current_setting('client_encoding') WHEN 'UTF8' THEN '' " +
		"ELSE set_config('client_encoding', 'it must be UTF8 to read every text as it is stored; add client_encoding=UTF8 to the connection', true) END"}
	for _, s := range append(postgresSettings, postgresLocale...) {
		calls = append(calls, fmt.Sprintf("set_config('%s', '%s', true)", s.name, s.value))
	}
	return "((SELECT " + strings.Join(calls, " || ") + ") <> '')"
}()

// postgresSession pins the settings where a statement is a transaction of its own, or one
// in a transaction of ours. The settings of somebody else's session are his: they must be
// right.
func postgresSession(ctx context.Context, s *spec) error {
	if s.sharesPool() || s.owned {
		s.pin = postgresPin
		return nil
	}
	needed := postgresSettings
	if s.layout != nil && s.layout.hasMoney() {
		needed = append(needed[:len(needed):len(needed)], postgresLocale[0])
	}
	needed = append([]setting{{"client_encoding", "UTF8", nil}}, needed...)
	var columns, change []string
	for _, n := range needed {
		columns = append(columns, "current_setting('"+n.name+"')")
	}
	err := queryEach(ctx, s.db, func(rows *sql.Rows) error {
		values := make([]string, len(needed))
		dest := make([]any, len(needed))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, n := range needed {
			if values[i] != n.value && (n.fits == nil || !n.fits(values[i])) {
				change = append(change, fmt.Sprintf("SET %s = '%s'", n.name, n.value))
			}
		}
		return nil
	}, "SELECT "+strings.Join(columns, ", "))
	if err != nil {
		return err
	}
	if change != nil {
		return fmt.Errorf("%w: what is read would depend on settings of this session; run %s first (SET LOCAL in a transaction), or read from the *sql.DB",
			ErrSession, strings.Join(change, "; "))
	}
	return nil
}

// isUTC reports whether a time zone is always at UTC.
func isUTC(zone string) bool {
	switch strings.ToUpper(strings.TrimPrefix(zone, "Etc/")) {
	case "UTC", "UCT", "GMT", "GMT0", "ZULU", "UNIVERSAL", "GREENWICH", "+00:00", "-00:00":
		return true
	}
	return false
}
