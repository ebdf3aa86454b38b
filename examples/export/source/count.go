package source

import (
	"context"
	"encoding/json"
	"fmt"
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
		err := s.QueryRowContext(ctx, "SELECT max(rowid) - min(rowid) + 1 FROM "+t.From()).Scan(&rows)
		ok = err == nil
	}
	return rows, ok && rows > 0
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

// Count counts the rows that are meant. That can take as long as to read them. When ctx
// ends so does the statement, also in MariaDB, where the end of the connection does not
// end it.
func (s *Source) Count(ctx context.Context, t *Table) (n int64, err error) {
	query := "SELECT count(*) FROM " + t.From() + where(t.Where)
	if s.System != MySQL {
		return n, s.QueryRowContext(ctx, query).Scan(&n)
	}
	conn, err := s.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var id int64
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		return 0, err
	}
	counting, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	stop := context.AfterFunc(ctx, func() {
		defer leave() // at last, a user with one connection cannot kill
		kill, cancel := context.WithTimeout(counting, 5*time.Second)
		defer cancel()
		s.ExecContext(kill, fmt.Sprintf("KILL QUERY %d", id))
	})
	err = conn.QueryRowContext(counting, query).Scan(&n)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	return n, err
}

// where returns the clause for a condition. The line ends a comment in it.
func where(condition string) string {
	if condition == "" {
		return ""
	}
	return " WHERE (" + condition + "\n)"
}
