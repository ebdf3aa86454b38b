package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// A setting is one of PostgreSQL's that changes what is read, and the value it is pinned to.
type setting struct {
	name, value string
	fits        string // the SQL of a condition on v, for what else will do; "" for nothing
}

// postgresSettings are what pg_dump pins of those that change values, the time zone, and one
// by which an index gives out only some of the rows.
var postgresSettings = []setting{
	{"datestyle", "ISO", "v LIKE 'ISO%'"},
	{"intervalstyle", "postgres", ""},
	{"extra_float_digits", "3", "v IN ('1', '2')"}, // all the same since 12
	{"bytea_output", "hex", ""},
	{"timezone", "UTC", "upper(regexp_replace(v, '^Etc/', '')) IN ('UTC', 'UCT', 'GMT', 'GMT0', 'ZULU', 'UNIVERSAL', 'GREENWICH')"},
	{"xmlbinary", "base64", ""},
	{"gin_fuzzy_search_limit", "0", ""},
}

// postgresLocale is pinned, too. What it changes is no text of a table's but that of money.
var postgresLocale = []setting{{"lc_monetary", "C", ""}, {"lc_numeric", "C", ""}, {"lc_time", "C", ""}}

// These cannot be pinned: texts are converted, values of a position are understood, and
// names are looked up before any of the statement is run. arrayNulls is the setting by which
// {NULL} is an array of a text.
var (
	clientEncoding = setting{"client_encoding", "UTF8", ""}
	arrayNulls     = setting{"array_nulls", "on", ""}
)

// check is SQL for an empty text where a setting fits, otherwise for what it should be.
func (n setting) check() string {
	v := "current_setting('" + n.name + "')"
	fits := v + " = " + sqlText(n.value)
	if n.fits != "" {
		fits = "(" + fits + " OR (SELECT " + n.fits + " FROM (SELECT " + v + ") s (v)))"
	}
	return "CASE WHEN " + fits + " THEN '' ELSE " + sqlText(n.name+" = '"+strings.ReplaceAll(n.value, `"`, "")+"'; ") + " END"
}

// sqlText is a text as a literal, whatever standard_conforming_strings says.
func sqlText(text string) string {
	text = strings.ReplaceAll(text, "'", "''")
	if strings.Contains(text, `\`) {
		return "E'" + strings.ReplaceAll(text, `\`, `\\`) + "'"
	}
	return "'" + text + "'"
}

// refusal begins what the server says where a check fails: it is no number.
const refusal = "keyset: the session must have "

// postgresPin returns a condition that holds, refuses a session that does not pass checks, and
// pins settings for the transaction that the statement is. It refers to no row, so the server
// evaluates it once and before it reads any: as a gating filter, whose subquery is an
// initial plan.
//
// The server passes each row through the gate, which takes it nearly as long as to find
// the row. So where the page of a table begins behind a position the condition stands in
// the subquery of that bound, which is evaluated as early, when the scan of the index
// begins, and once.
func postgresPin(checks, pinned []setting) string {
	var wrong []string
	for _, n := range checks {
		wrong = append(wrong, n.check())
	}
	calls := []string{"(SELECT CASE c.wrong WHEN '' THEN '' ELSE (" + sqlText(refusal) + " || c.wrong)::int4::text END FROM (SELECT " +
		strings.Join(wrong, " || ") + ") AS c (wrong))"}
	for _, n := range pinned {
		calls = append(calls, "set_config('"+n.name+"', '"+n.value+"', true)")
	}
	return "((SELECT " + strings.Join(append(calls, "'pinned'"), " || ") + ") <> '')"
}

// postgresSession pins the settings where a statement is a transaction of its own, or one
// in a transaction of ours. The settings of somebody else's session are his: they must be
// right, now and at each statement.
func postgresSession(ctx context.Context, s *spec) error {
	checks := []setting{clientEncoding}
	if !s.pinsSession() {
		checks = append(checks, postgresSettings...)
		if s.layout != nil && s.layout.hasMoney() {
			checks = append(checks, postgresLocale[0])
		}
		if err := s.checkSession(ctx, checks); err != nil {
			return err
		}
	}
	if s.textual() {
		path, err := queryStrings(ctx, s.db, "SELECT current_setting('search_path')")
		if err != nil {
			return err
		}
		checks = append(checks, setting{"search_path", path[0], ""})
	}
	s.pinPostgres(checks)
	return nil
}

// postgresKeySession adds what matters where a key has arrays.
func postgresKeySession(ctx context.Context, s *spec) error {
	if s.facts == nil || !slices.ContainsFunc(s.facts.columns, func(c columnInfo) bool { return c.arrays }) || slices.Contains(s.checks, arrayNulls) {
		return nil
	}
	if !s.pinsSession() {
		if err := s.checkSession(ctx, []setting{arrayNulls}); err != nil {
			return err
		}
	}
	s.pinPostgres(append(slices.Clone(s.checks), arrayNulls))
	return nil
}

// pinsSession reports whether settings can be set for one statement.
func (s *spec) pinsSession() bool { return s.sharesPool() || s.owned }

func (s *spec) pinPostgres(checks []setting) {
	var pinned []setting
	if s.pinsSession() {
		pinned = append(slices.Clone(postgresSettings), postgresLocale...)
	}
	s.checks, s.pin = checks, postgresPin(checks, pinned)
}

// checkSession looks at settings without an error of the server's, which would be the end of
// a transaction.
func (s *spec) checkSession(ctx context.Context, checks []setting) error {
	var texts []string
	for _, n := range checks {
		texts = append(texts, n.check())
	}
	return queryEach(ctx, s.db, func(rows *sql.Rows) error {
		var wrong string
		if err := rows.Scan(&wrong); err != nil {
			return err
		}
		return s.refuseSession(wrong)
	}, "SELECT "+strings.Join(texts, " || "))
}

// refuseSession says what a session should have; nil where that is nothing.
func (s *spec) refuseSession(wrong string) error {
	wrong = strings.TrimSuffix(strings.TrimSpace(wrong), ";")
	switch {
	case wrong == "":
		return nil
	case strings.HasPrefix(wrong, "search_path"):
		return fmt.Errorf("%w: the search path has changed since the reading began, so that names in the query may stand for other tables now; it was %s",
			ErrSession, strings.TrimPrefix(wrong, "search_path = "))
	case s.pinsSession():
		return fmt.Errorf("%w: what is read would not be what is stored; add %s to the connection (to its data source name, or with ALTER ROLE … SET)",
			ErrSession, strings.ReplaceAll(wrong, "; ", " and "))
	}
	return fmt.Errorf("%w: what is read would depend on settings of this session; run SET %s first (SET LOCAL in a transaction), or read from the *sql.DB",
		ErrSession, strings.ReplaceAll(wrong, "; ", "; SET "))
}

// refusedSession returns the error where the server has refused a statement by its pin, nil of
// any other.
func (s *spec) refusedSession(err error) error {
	if s.checks == nil {
		return nil
	}
	_, wrong, found := strings.Cut(err.Error(), refusal)
	if !found {
		return nil
	}
	wrong, _, _ = strings.Cut(wrong, `"`)
	return s.refuseSession(wrong)
}
