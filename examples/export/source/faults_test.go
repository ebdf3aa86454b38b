package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestFaults(t *testing.T) {
	pg := func(code, message string) error {
		return fmt.Errorf("read: %w", &pgconn.PgError{Code: code, Message: message})
	}
	my := func(number uint16) error {
		return fmt.Errorf("read: %w", &mysql.MySQLError{Number: number, Message: "x"})
	}
	for _, test := range []struct {
		err    error
		passes bool
		advice string
	}{
		{pg("57P01", "terminating connection due to administrator command"), true, ""},
		{pg("53300", "too many connections for role"), true, ""},
		{pg("40001", "could not serialize access"), true, ""},
		{pg("55P03", "canceling statement due to lock timeout"), true, ""},
		{pg("55000", "object not in prerequisite state"), false, ""},
		{pg("57014", "canceling statement due to statement timeout"), false, "-page"},
		{pg("57014", "canceling statement due to user request"), false, ""},
		{pg("42P05", `prepared statement "stmtcache_1" already exists`), false, "default_query_exec_mode"},
		{pg("26000", `prepared statement "stmtcache_1" does not exist`), false, "default_query_exec_mode"},
		{pg("42501", "permission denied for table t"), false, "-columns"},
		{pg("42703", "column does not exist"), false, ""},
		{my(1226), true, ""},
		{my(1203), true, ""},
		{my(1205), true, ""},
		{my(1969), false, "-page"},
		{Whole(pg("57014", "canceling statement due to statement timeout"), "Leave -count out"), false, "Leave -count out"},
		{Whole(my(1969), "Leave -partitions out"), false, "Leave -partitions out"},
		{Whole(my(1213), "Leave -count out"), true, ""},
		{my(1143), false, "-columns"},
		{my(1142), false, "-columns"},
		{my(1064), false, ""},
		{driver.ErrBadConn, true, ""},
		{fmt.Errorf("x: %w", io.ErrUnexpectedEOF), true, ""},
		{errors.New("other"), false, ""},
	} {
		if got := Passes(test.err); got != test.passes {
			t.Errorf("%v passes: %v, want %v", test.err, got, test.passes)
		}
		if got := Advice(test.err); !strings.Contains(got, test.advice) || (got == "") != (test.advice == "") {
			t.Errorf("%v: %q, want %q", test.err, got, test.advice)
		}
	}
}

// A statement that has outlived its table is tried once more, and other faults until they
// pass.
func TestRetry(t *testing.T) {
	altered := &pgconn.PgError{Code: "0A000", Message: "cached plan must not change result type"}
	busy := &mysql.MySQLError{Number: 1226}
	other := &pgconn.PgError{Code: "0A000", Message: "feature not supported"}
	for _, test := range []struct {
		errs  []error
		tries int
		err   error
	}{
		{[]error{altered}, 2, nil},
		{[]error{altered, altered}, 2, altered},
		{[]error{altered, busy, busy}, 4, nil},
		{[]error{other}, 1, other},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries, told := 0, 0
			err := Retry(func(int, time.Duration, error) { told++ })(t.Context(), func(context.Context) error {
				tries++
				if tries <= len(test.errs) {
					return test.errs[tries-1]
				}
				return nil
			})
			if tries != test.tries || told != tries-1 || test.err == nil && err != nil || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("%v: %d tries, told %d times, %v", test.errs, tries, told, err)
			}
		})
	}
}
