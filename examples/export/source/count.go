package source

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// Count counts the rows that are meant. That can take as long as to read them. When ctx
// ends so does the statement on the server, which would go on with it after the end of
// the connection.
func (s *Source) Count(ctx context.Context, t *Table) (n int64, err error) {
	conn, err := s.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	interrupt, err := s.interrupter(ctx, conn)
	if err != nil {
		return 0, err
	}
	counting, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		defer leave() // at last, also where the server could not be told
		wait, cancel := context.WithTimeout(counting, 5*time.Second)
		defer cancel()
		interrupt(wait)
	})
	err = conn.QueryRowContext(counting, "SELECT count(*) FROM "+t.From()+where(t.Where)).Scan(&n)
	if !stop() {
		<-stopped
		err = ctx.Err()
	}
	return n, s.checked(ctx, err)
}

// interrupter returns what ends the statement that runs on a connection. In MariaDB that
// takes another connection, which a limited user may not have.
func (s *Source) interrupter(ctx context.Context, conn *sql.Conn) (func(context.Context), error) {
	switch s.System {
	case Postgres:
		var pg *pgconn.PgConn
		err := conn.Raw(func(c any) error {
			if c, ok := c.(interface{ Conn() *pgx.Conn }); ok {
				pg = c.Conn().PgConn()
			}
			return nil
		})
		return func(ctx context.Context) {
			if pg != nil {
				pg.CancelRequest(ctx)
			}
		}, err
	case MySQL:
		var id int64
		err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)
		return func(ctx context.Context) { s.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", id)) }, err
	}
	return func(context.Context) {}, nil
}

// where returns the clause for a condition. The line ends a comment in it.
func where(condition string) string {
	if condition == "" {
		return ""
	}
	return " WHERE (" + condition + "\n)"
}
