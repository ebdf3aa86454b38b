package sqlite

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// at returns the T at an address of C's.
func at[T any](p uintptr) *T {
	return (*T)(unsafe.Pointer(unsafe.SliceData(libc.GoBytes(p, 1))))
}

// cString returns a copy of s for C, to be freed. What C would take for the end
// must not be in it.
func cString(s string) (uintptr, error) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return 0, fmt.Errorf("sqlite: a statement must have no NUL byte, got one at %d", i)
	}
	return libc.CString(s)
}

// funcPointer returns what the translated code calls f by. f must be a function
// that is declared, no closure: those may move.
func funcPointer[F any](f F) uintptr {
	return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f}))
}

// conns has the open connections, for the functions that SQLite calls.
var conns sync.Map // of *conn by their handles

// onProgress ends a statement whose context has ended.
func onProgress(_ *libc.TLS, db uintptr) int32 {
	if c, ok := conns.Load(db); ok && c.(*conn).ctx.Err() != nil {
		return 1
	}
	return 0
}

// onBusy waits for a lock that another connection has, as SQLite itself does, but
// not after the end of the context.
func onBusy(_ *libc.TLS, db uintptr, tries int32) int32 {
	v, ok := conns.Load(db)
	if !ok {
		return 0
	}
	c := v.(*conn)
	if tries == 0 {
		c.busySince = time.Now()
	}
	patience := time.Duration(at[lib.Tsqlite3](db).FbusyTimeout) * time.Millisecond
	left := patience - time.Since(c.busySince)
	if left <= 0 {
		return 0
	}
	pause := time.NewTimer(min(left, time.Millisecond<<min(tries, 6)))
	defer pause.Stop()
	select {
	case <-pause.C:
		return 1
	case <-c.ctx.Done():
		return 0
	}
}

// enter says in which context SQLite is called next. Where PRAGMA busy_timeout has
// put SQLite's own way to wait in place, it puts ours there again.
func (c *conn) enter(ctx context.Context) {
	c.use(ctx)
	db := at[lib.Tsqlite3](c.db)
	timeout, ours := db.FbusyTimeout, funcPointer(onBusy)
	if timeout <= 0 || db.FbusyHandler.FxBusyHandler == ours {
		return
	}
	lib.Xsqlite3_busy_handler(c.tls, c.db, ours, c.db)
	db.FbusyTimeout = timeout // which that has set to 0, and the pragma is to return
}
