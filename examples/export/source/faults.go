package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/examples/export/sqlite"
	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// Passes reports whether an error is one that passes by itself: the server is away,
// restarts, or is busy.
func Passes(err error) bool {
	var network net.Error
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		// Classes 08 (connection), 53 (resources) and 40 (rolled back for others), 57P0x
		// (shutdown and start), and a lock that was not had in lock_timeout.
		for _, class := range []string{"08", "53", "40", "57P", "55P03"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	case errors.As(err, &my):
		// Too many connections (of all, of a user, by a limit), shutdown, a lock wait, a
		// deadlock, a connection that was killed.
		return slices.Contains([]uint16{1040, 1203, 1226, 1053, 1205, 1213, 1927}, my.Number)
	case sqliteCode(err) != 0:
		return slices.Contains([]int{sqliteBusy, sqliteLocked}, sqliteCode(err))
	}
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || pgconn.SafeToRetry(err)
}

// unreachable reports whether nothing listens where a server should be.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// gone reports whether a connection whose statement is to be ended has ended before.
func gone(err error) bool {
	my := (*mysql.MySQLError)(nil)
	return errors.As(err, &my) && my.Number == 1094
}

// tableAltered reports whether a prepared statement has outlived what it was prepared for.
// The driver prepares it anew after that, so one more try tells.
func tableAltered(err error) bool {
	pg := (*pgconn.PgError)(nil)
	return errors.As(err, &pg) && pg.Code == "0A000" && strings.Contains(pg.Message, "cached plan")
}

// Retry tries again what fails by something that passes. say is told before each pause.
// The result is for [cursor.PageConfig].
func Retry(say func(try int, pause time.Duration, err error)) func(context.Context, func(context.Context) error) error {
	return retrying(say, Passes)
}

func retrying(say func(try int, pause time.Duration, err error), passes func(error) bool) func(context.Context, func(context.Context) error) error {
	return func(ctx context.Context, op func(context.Context) error) error {
		altered := false
		policy := control.Retry{
			Attempts: 10,
			Backoff:  control.Exponential(200*time.Millisecond, 10*time.Second),
			If: func(err error) bool {
				if tableAltered(err) && !altered {
					altered = true
					return true
				}
				return passes(err)
			},
			OnRetry: func(r control.RetryEvent) { say(r.Attempt, r.Sleep.Round(time.Millisecond), r.Err) },
		}
		return policy.Do(ctx, op)
	}
}

// timeLimit returns the server's setting by which it has ended a statement, "" where it did
// not.
func timeLimit(err error) string {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg) && pg.Code == "57014" && strings.Contains(pg.Message, "timeout"):
		return "statement_timeout"
	case errors.As(err, &my) && (my.Number == 1969 || my.Number == 3024):
		return "max_statement_time"
	}
	return ""
}

// denied reports whether a user has no right to what was asked for.
func denied(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return pg.Code == "42501"
	case errors.As(err, &my):
		return slices.Contains([]uint16{1044, 1142, 1143}, my.Number)
	}
	return false
}

// A wholeError is the error of a statement that a smaller page would not make smaller.
type wholeError struct {
	error
	instead string
}

func (e *wholeError) Unwrap() error { return e.error }

// Whole says of a statement that took longer than the server allows what can be done instead
// of a smaller -page. Any other error it returns as it is.
func Whole(err error, instead string) error {
	if timeLimit(err) == "" {
		return err
	}
	return &wholeError{err, instead}
}

// Advice says what a user can do about an error of the database, "" where nothing more is
// known than the error says.
func Advice(err error) string {
	if limit := timeLimit(err); limit != "" {
		instead := "Give a smaller -page"
		if whole := (*wholeError)(nil); errors.As(err, &whole) {
			instead = whole.instead
		}
		return fmt.Sprintf("The server ends statements that take longer than its %s. %s, or have a larger %[1]s given to this user.", limit, instead)
	}
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &lite) && lite.Code == sqliteHot:
		return "A program that wrote to the database was killed. Open it once with one that may write to it and its folder, such as the sqlite3 shell: that rolls the transaction back."
	case errors.As(err, &pg) && (pg.Code == "42P05" || pg.Code == "26000"):
		return "A connection pooler such as PgBouncer gives each transaction another connection, and prepared statements are not on all of them. " +
			"Add default_query_exec_mode=exec to -dsn (as ?default_query_exec_mode=exec to a URL)."
	case errors.As(err, &pg) && pg.Code == "22021":
		return "A text is stored that is none in the encoding UTF8, which a database in SQL_ASCII lets in. Leave its column out with -columns, " +
			"or read its bytes: -query \"SELECT …, convert_to(COLUMN, 'SQL_ASCII') AS COLUMN FROM …\" with a -key whose text is UTF8."
	case denied(err):
		return "Give this user the right to read that, or leave it out with -columns."
	}
	return ""
}
