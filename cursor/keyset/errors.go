package keyset

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"example.com/pipeline/cursor/internal/sqlerr"
)

// timeLimit returns the setting by which the server has ended a statement, "" if it was
// not one.
func timeLimit(err error) string {
	state, number := sqlerr.Code(err)
	switch {
	case state == "57014" && !strings.Contains(err.Error(), "user request"): // which has the same code
		return "statement_timeout"
	case number == 1969:
		return "max_statement_time"
	case number == 3024:
		return "max_execution_time"
	}
	return ""
}

// explain adds to an error what was being done.
func (s *spec) explain(err error) error {
	if bad := s.noPosition(err); bad != nil {
		return bad
	}
	if refused := s.refusedSession(err); refused != nil {
		return refused
	}
	if limit := timeLimit(err); limit != "" {
		return fmt.Errorf("keyset: read %s: a statement took longer than the %s of the role, database or session allows, and cannot be made smaller; raise that setting: %w", s.from, limit, err)
	}
	return fmt.Errorf("keyset: read %s: %w", s.from, err)
}

// mend reports whether a page that has failed is to be read again at once, and how: once
// where the server asks for its statement to be prepared anew, since the table has been
// altered, and with half of the rows where it took the server too long.
func (r *reader[T, P]) mend(ctx context.Context, err error) bool {
	if errors.Is(err, errShortSort) {
		return r.spec.sortMore()
	}
	if _, tx := r.spec.db.(*sql.Tx); tx || ctx.Err() != nil { // an error is the end of a transaction
		return false
	}
	if state, _ := sqlerr.Code(err); state == "0A000" {
		r.replanned = !r.replanned
		return r.replanned
	}
	return timeLimit(err) != "" && r.halve(r.tried)
}

// halve makes the pages after one of so many rows half as large.
func (r *reader[T, P]) halve(rows int) bool {
	if rows < 2 {
		return false
	}
	r.most, r.good = rows/2, 0
	return true
}

// pagesToGrow is how many pages are read without an error before they grow again.
const pagesToGrow = 8

// grow notes a page that was read.
func (r *reader[T, P]) grow() {
	r.replanned = false
	if r.most == 0 {
		return
	}
	if r.good++; r.good == pagesToGrow {
		r.good = 0
		if r.most *= 2; r.most > openRows {
			r.most = 0
		}
	}
}
