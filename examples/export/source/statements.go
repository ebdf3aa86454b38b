package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A server goes on with a statement whose client is gone until it has something to send, which
// a count and a condition that nothing fits have only at the end. So what ends a run early also
// ends its statements.

// endTime is how long that may take.
const endTime = 5 * time.Second

// keptConnections is how many connections are known, the last ones.
const keptConnections = 100

// connections are those that a run has made.
type connections struct {
	mu       sync.Mutex
	threads  []uint32 // of MariaDB
	postgres []*pgconn.PgConn
}

// addThread takes the connection's number from the first bytes that the server has sent: the
// length and number of the packet, the protocol's version, the server's up to a zero, and then
// the number (https://mariadb.com/kb/en/connection/#initial-handshake-packet).
func (c *connections) addThread(greeting []byte) {
	const header, version = 4, 10
	if len(greeting) <= header || greeting[header] != version {
		return // an error, that there are too many connections say
	}
	_, rest, ok := bytes.Cut(greeting[header+1:], []byte{0})
	if !ok || len(rest) < 4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threads = append(c.threads, binary.LittleEndian.Uint32(rest))
	c.threads = c.threads[max(len(c.threads)-keptConnections, 0):]
}

func (c *connections) addPostgres(conn *pgx.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.postgres = append(c.postgres, conn.PgConn())
	c.postgres = c.postgres[max(len(c.postgres)-keptConnections, 0):]
}

// EndStatements ends what the server still does for this run, whose context has ended. An error
// says that it may go on.
func (s *Source) EndStatements() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	s.made.mu.Lock()
	threads, postgres := slices.Clone(s.made.threads), slices.Clone(s.made.postgres)
	s.made.mu.Unlock()
	for _, conn := range postgres { // the driver cancels the statement of one that it gives up
		if !conn.IsClosed() {
			continue
		}
		select {
		case <-conn.CleanupDone():
		case <-ctx.Done():
			return fmt.Errorf("the server did not say within %v that it has ended them", endTime)
		}
	}
	if len(threads) == 0 {
		return nil
	}
	var err error
	for ctx.Err() == nil {
		if err = s.endThreads(ctx, threads); err == nil || !Passes(err) || ctx.Err() != nil {
			break
		}
		select { // a user may have no connection left for a moment
		case <-time.After(endTime / 10):
		case <-ctx.Done():
		}
	}
	return err
}

// endThreads ends the statements of connections to MariaDB. That takes another connection.
func (s *Source) endThreads(ctx context.Context, threads []uint32) error {
	numbers := make([]string, len(threads))
	for i, id := range threads {
		numbers[i] = fmt.Sprint(id)
	}
	rows, err := s.QueryContext(ctx, "SELECT id FROM information_schema.processlist WHERE id IN ("+strings.Join(numbers, ", ")+
		") AND command IN ('Query', 'Execute') AND user = SUBSTRING_INDEX(USER(), '@', 1) AND id <> CONNECTION_ID()")
	if err != nil {
		return err
	}
	defer rows.Close()
	var running []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		running = append(running, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range running {
		if _, err := s.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", id)); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
