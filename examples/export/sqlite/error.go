package sqlite

import (
	"fmt"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// An Error is what SQLite says has gone wrong.
type Error struct {
	Code    int // the extended result code: https://sqlite.org/rescode.html
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.Message, e.Code) }

// Busy reports whether another connection has what was asked for, so that the same
// may succeed later.
func (e *Error) Busy() bool {
	primary := e.Code & 0xff
	return primary == lib.SQLITE_BUSY || primary == lib.SQLITE_LOCKED
}

// failed returns the error for a result code of the call that was just made.
func (c *conn) failed(rc int32) error {
	switch rc & 0xff {
	case lib.SQLITE_INTERRUPT, lib.SQLITE_BUSY:
		if err := c.ctx.Err(); err != nil {
			return err // it is why
		}
	}
	e := &Error{Code: int(rc), Message: libc.GoString(lib.Xsqlite3_errstr(c.tls, rc))}
	if c.db != 0 && lib.Xsqlite3_extended_errcode(c.tls, c.db) == rc {
		if text := libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db)); text != e.Message {
			e.Message += ": " + text
		}
	}
	return e
}
