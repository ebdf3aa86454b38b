package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Estimate returns about how many rows will be read, by what the database knows without
// reading them: the planner's guess, or in SQLite the range of the ids. ok is false where
// it knows nothing.
func (s *Source) Estimate(ctx context.Context, t *Table) (rows int64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch s.System {
	case Postgres:
		rows, ok = s.postgresPlan(ctx, t)
	case MySQL:
		rows, ok = s.mysqlPlan(ctx, t)
	default:
		if t.Where != "" {
			return 0, false
		}
		err := s.QueryRowContext(ctx, rangeOfRowids(t.From())).Scan(&rows)
		ok = err == nil
	}
	return rows, ok && rows > 0
}

// rangeOfRowids asks for the two ends one by one: SQLite reads the whole table for a statement
// that has both.
func rangeOfRowids(table string) string {
	return "SELECT (SELECT max(rowid) FROM " + table + ") - (SELECT min(rowid) FROM " + table + ") + 1"
}

// postgresPlan asks for the plan of a query on all rows that are meant.
func (s *Source) postgresPlan(ctx context.Context, t *Table) (int64, bool) {
	var text string
	if err := s.QueryRowContext(ctx, "EXPLAIN (FORMAT JSON) SELECT 1 FROM "+t.From()+where(t.Where)).Scan(&text); err != nil {
		return 0, false
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if json.Unmarshal([]byte(text), &plans) != nil || len(plans) == 0 {
		return 0, false
	}
	return int64(plans[0].Plan.Rows), true
}

// mysqlPlan reads the plan's rows, of which a part is kept, in percent.
func (s *Source) mysqlPlan(ctx context.Context, t *Table) (int64, bool) {
	rows, err := s.QueryContext(ctx, "EXPLAIN EXTENDED SELECT 1 FROM "+t.From()+where(t.Where))
	if err != nil {
		if rows, err = s.QueryContext(ctx, "EXPLAIN SELECT 1 FROM "+t.From()+where(t.Where)); err != nil {
			return 0, false
		}
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		return 0, false
	}
	values := make([]any, len(names))
	number, filtered := 0.0, 100.0
	for i, name := range names {
		switch name {
		case "rows":
			values[i] = &number
		case "filtered":
			values[i] = &filtered
		default:
			values[i] = new(any)
		}
	}
	if err := rows.Scan(values...); err != nil || rows.Next() { // of more than one table
		return 0, false
	}
	return int64(number * filtered / 100), true
}

// ErrUncounted says that a count was given up before its end.
var ErrUncounted = errors.New("the rows are not counted")

// briefly is how long, in seconds, a count may take that nobody could end before. Tests make it
// shorter.
var briefly = 60

// Count counts the rows that are meant. That can take as long as to read them. MariaDB goes on
// with a count when its client is gone, and to end it there takes another connection: where the
// user may have one only, it is given up with [ErrUncounted] after a minute.
func (s *Source) Count(ctx context.Context, t *Table) (n int64, err error) {
	query, brief := "SELECT count(*) FROM "+t.From(), false
	if s.System == MySQL {
		var version string
		var most int
		if err := s.QueryRowContext(ctx, "SELECT VERSION(), @@max_user_connections").Scan(&version, &most); err != nil {
			return 0, err
		}
		if brief = most == 1; brief && strings.Contains(version, "MariaDB") {
			query = fmt.Sprintf("SET STATEMENT max_statement_time = %d FOR %s", briefly, query)
		} else if brief {
			query = fmt.Sprintf("SELECT /*+ MAX_EXECUTION_TIME(%d000) */ count(*) FROM %s", briefly, t.From())
		}
	}
	err = s.QueryRowContext(ctx, query+where(t.Where)).Scan(&n)
	if err != nil && s.System == SQLite && strings.Contains(err.Error(), "no such collation sequence") {
		// Of an index that was chosen for its size: it need not be read for this.
		if s.QueryRowContext(ctx, query+" NOT INDEXED"+where(t.Where)).Scan(&n) == nil {
			err = nil
		}
	}
	if brief && timeLimit(err) != "" {
		err = fmt.Errorf("%w: it took longer than %d s, and this user may have one connection only (MAX_USER_CONNECTIONS 1), from which it could not be interrupted: %w", ErrUncounted, briefly, err)
	}
	return n, s.checked(ctx, err)
}

// where returns the clause for a condition. The line ends a comment in it.
func where(condition string) string {
	if condition == "" {
		return ""
	}
	return " WHERE (" + condition + "\n)"
}
