// Package sqlstore keeps checkpoints in a SQL database: SQLite, PostgreSQL, MariaDB
// and MySQL. Many machines can share one. A [Store] also remembers which calls
// have been made, for control.Idempotent.
//
// Each job is one row. Whoever acquires a job gets a lease on it, by the
// database's clock, and a new epoch, which is the fencing token: every save
// compares it, so a runner that was suspended past its lease, or cut off from
// the database, can no longer change the record once another one has the job. The
// lease is renewed in the background while the job runs. A runner that was killed
// frees the job when its lease ends, without any hand work; [cursor.WaitFor] lets the next one
// wait for that.
//
// The technique is the one of Gray and Cheriton, "Leases: an efficient
// fault-tolerant mechanism for distributed file cache consistency" (1989), with the
// fencing token checked by the resource itself.
//
// Since the record is in the same database as the rows that a job writes,
// [cursor.Checkpoint.CommitTx] can save it in the same transaction: exactly once. The
// renewal of the lease writes to the job's row meanwhile, so call CommitTx before
// other reads of that transaction, or begin it so that it locks first (SQLite: with
// BEGIN IMMEDIATE; PostgreSQL: READ COMMITTED): otherwise the database may refuse it for
// the sake of its snapshot, which harms nothing but has to be tried again.
package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/pipeline/control"
	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/keyset"
)

// A Store keeps checkpoints and idempotency keys in two tables of a database. It is
// safe for concurrent use. It needs no closing; the caller closes the database,
// after the checkpoints.
type Store struct {
	db          *sql.DB
	flavor      flavor
	dialect     keyset.Dialect
	checkpoints string // as quoted
	keys        string
	keysName    string // as given
	leaseFor    time.Duration
	keyFor      time.Duration

	claims sync.Map // claimant → the token of its claim
}

var (
	_ cursor.Store       = (*Store)(nil)
	_ cursor.TxLease     = (*lease)(nil)
	_ control.KeyRenewer = (*Store)(nil)
)

// An Option changes what [New] returns.
type Option func(*Store)

// LeaseFor sets how long a job stays taken after its runner has died; [cursor.WaitFor] with a
// little more than that outlasts it. The lease is
// renewed three times as often. The default is 30 s. Choose it longer than the
// longest pause that a healthy runner may make: a runner that is suspended for
// longer may lose its job. It is at least 1 ms.
func LeaseFor(d time.Duration) Option {
	if d < time.Millisecond {
		panic(fmt.Sprintf("sqlstore.LeaseFor: the lease must be at least 1ms, got %v", d))
	}
	return func(s *Store) { s.leaseFor = d }
}

// KeysFor sets how long an idempotency key stays claimed after the process that made the
// call has died. control.Idempotent renews the claim three times as often while
// the call runs, so it may take longer than that. The default is 1 minute. Choose it
// longer than the longest pause that a healthy process may make: the call of one
// that is suspended for longer may be made by another.
func KeysFor(d time.Duration) Option {
	if d < time.Millisecond {
		panic(fmt.Sprintf("sqlstore.KeysFor: the time must be at least 1ms, got %v", d))
	}
	return func(s *Store) { s.keyFor = d }
}

// Tables names the two tables, of checkpoints and of idempotency keys. The default
// is pipeline_checkpoints and pipeline_keys. A dot separates a schema from the name.
func Tables(checkpoints, keys string) Option {
	if checkpoints == "" || keys == "" || checkpoints == keys {
		panic(fmt.Sprintf("sqlstore.Tables: there must be two names, got %q and %q", checkpoints, keys))
	}
	return func(s *Store) { s.checkpoints, s.keys = checkpoints, keys }
}

// New returns a store in db, whose tables [Store.Migrate] makes, or whoever runs
// what [Store.DDL] returns.
func New(db *sql.DB, d keyset.Dialect, opts ...Option) *Store {
	if db == nil || d == nil {
		panic("sqlstore.New: the database and the dialect must not be nil")
	}
	f, ok := flavors[d.Name()]
	if !ok {
		panic(fmt.Sprintf("sqlstore.New: the dialect must be SQLite, Postgres or MySQL, got %q", d.Name()))
	}
	s := &Store{
		db: db, dialect: d, flavor: f,
		checkpoints: "pipeline_checkpoints", keys: "pipeline_keys",
		leaseFor: 30 * time.Second, keyFor: time.Minute,
	}
	for _, opt := range opts {
		opt(s)
	}
	s.keysName = s.keys
	s.checkpoints, s.keys = quoteName(d, s.checkpoints), quoteName(d, s.keys)
	return s
}

func quoteName(d keyset.Dialect, name string) string {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = d.Quote(part)
	}
	return strings.Join(parts, ".")
}

// A flavor is what differs between the databases. Times are microseconds since 1970
// by the database's clock, in an integer: no driver, and no session's time zone, can
// change them.
type flavor struct {
	name      string // type of a name that is compared byte by byte
	text      string // type of text of any length
	bytes     string
	tableEnd  string
	indexed   string // counts the indexes for Prune, of the name and, twice, the schema or ""
	lockTable string // what lets one add an index at a time
	addIndex  string
	now       string // the clock
	insert    string // begin and end of an INSERT that passes over a row that is there
	onExists  string
	forUpdate string // what makes a SELECT wait for the row's writer

	// What an error says of a table that is missing, where that has no code of its own.
	noTable string

	// SQLite has no such thing. There a transaction that has read and then writes
	// fails for good where somebody else, such as the renewal of the lease, has
	// written in between; one that writes first waits.
	lockByWriting bool

	// A session can be told not to commit by itself (autocommit=0), by the server's
	// default, too: then every statement needs a transaction of ours. Otherwise what
	// is written is lost, and what is read is as old as the session's last commit.
	beginAndCommit bool
}

var flavors = map[string]flavor{
	"sqlite": {
		name: "TEXT", text: "TEXT", bytes: "BLOB",
		indexed: `SELECT COUNT(*) FROM pragma_index_list(?, NULLIF(?, '')) l, pragma_index_info(l.name, NULLIF(?, '')) x
			WHERE NOT l.partial AND x.seqno = 1 AND x.name = 'done_at'`,
		addIndex: "CREATE UNIQUE INDEX {keys_done} ON {keys unqualified} (done, done_at, name)",
		now:      "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000",
		insert:   "INSERT", onExists: " ON CONFLICT DO NOTHING", noTable: "no such table: ", lockByWriting: true,
	},
	"postgres": {
		name: `TEXT COLLATE "C"`, text: "TEXT", bytes: "BYTEA",
		indexed: `SELECT COUNT(*) FROM pg_index i
			JOIN pg_class c ON c.oid = i.indrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[1]
			WHERE c.relname = ?::text AND CASE WHEN ?::text = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = ?::text END
				AND i.indisvalid AND i.indpred IS NULL AND a.attname = 'done_at'`,
		// Otherwise it would be added under another name by each that adds it.
		lockTable: "LOCK TABLE {keys} IN ACCESS EXCLUSIVE MODE",
		addIndex:  "ALTER TABLE {keys} ADD UNIQUE (done, done_at, name)",
		// Not now(): that is when the transaction began.
		now:    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
		insert: "INSERT", onExists: " ON CONFLICT DO NOTHING", forUpdate: " FOR UPDATE",
	},
	"mysql": {
		// Not a text type: even the binary collations do not see spaces at the end.
		name: "VARBINARY(512)", text: "LONGTEXT", bytes: "LONGBLOB",
		tableEnd: " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		indexed: `SELECT COUNT(*) FROM information_schema.statistics
			WHERE table_name = ? AND CASE WHEN ? = '' THEN table_schema = DATABASE() ELSE table_schema = ? END
				AND seq_in_index = 2 AND column_name = 'done_at'`,
		addIndex: "ALTER TABLE {keys} ADD UNIQUE done (done, done_at, name)",
		now:      "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
		insert:   "INSERT IGNORE", forUpdate: " FOR UPDATE", beginAndCommit: true,
	},
}

// sql completes a statement: ? becomes the dialect's placeholders, and the words
// in braces what they stand for.
func (s *Store) sql(text string) string {
	text = strings.NewReplacer("{checkpoints}", s.checkpoints, "{keys}", s.keys, "{now}", s.flavor.now,
		"{insert}", s.flavor.insert, "{on exists}", s.flavor.onExists, "{for update}", s.flavor.forUpdate).Replace(text)
	var b strings.Builder
	n := 0
	for {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n++
		b.WriteString(s.dialect.Placeholder(n))
		text = after
	}
}
