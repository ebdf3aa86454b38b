package riverjob

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"example.com/pipeline/cursor/keyset"
	"example.com/pipeline/cursor/sqlstore"
)

// A Store keeps plans, and the checkpoints of their ranges, in the PostgreSQL database
// that River is in. It is safe for concurrent use.
type Store struct {
	pool        *pgxpool.Pool
	db          *sql.DB
	schema      string
	lease       time.Duration
	checkpoints *sqlstore.Store
	words       *strings.Replacer
}

// An Option changes what [New] returns.
type Option func(*Store)

// Schema names the schema that River's tables are in, as river.Config.Schema does; the
// tables of this package are beside them. The default is the search path.
func Schema(name string) Option {
	// As River wants it.
	if !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(name) {
		panic(fmt.Sprintf("riverjob.Schema: the name must be letters, digits and underscores, got %q", name))
	}
	return func(s *Store) { s.schema = name }
}

// LeaseFor sets how long a range stays taken after its worker has died, as
// [sqlstore.LeaseFor] does. The default is 30 s.
func LeaseFor(d time.Duration) Option {
	sqlstore.LeaseFor(d) // panics where d is too short
	return func(s *Store) { s.lease = d }
}

// New returns a store in the database of pool, whose tables [Store.Migrate] makes. A
// worker needs two connections for each range that it works on at once, and one more.
// The caller closes the store, then the pool.
func New(pool *pgxpool.Pool, opts ...Option) *Store {
	if pool == nil {
		panic("riverjob.New: the pool must not be nil")
	}
	s := &Store{pool: pool, db: stdlib.OpenDBFromPool(pool), lease: 30 * time.Second}
	for _, opt := range opts {
		opt(s)
	}
	dot, quoted := "", ""
	if s.schema != "" {
		dot, quoted = s.schema+".", pgx.Identifier{s.schema}.Sanitize()+"."
	}
	s.checkpoints = sqlstore.New(s.db, keyset.Postgres,
		sqlstore.Tables(dot+"pipeline_checkpoints", dot+"pipeline_keys"), sqlstore.LeaseFor(s.lease))
	s.words = strings.NewReplacer(
		"{plans}", quoted+"pipeline_plans", "{ranges}", quoted+"pipeline_ranges",
		"{checkpoints}", quoted+"pipeline_checkpoints",
		"{river_job}", quoted+"river_job", "{river_job_state}", quoted+"river_job_state",
		"{now}", "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint")
	return s
}

// DB returns the pool as a *sql.DB, for transactions with CommitTx.
func (s *Store) DB() *sql.DB { return s.db }

// Checkpoints returns the store of the checkpoints, for those who want to look at one,
// or keep idempotency keys there. [CheckpointName] says which is a range's.
func (s *Store) Checkpoints() *sqlstore.Store { return s.checkpoints }

// Close lets go of the pool, which the caller closes then.
func (s *Store) Close() error { return s.db.Close() }

// CheckpointName returns the name of the checkpoint of a range, which counts from 0.
func CheckpointName(job string, number int) string { return fmt.Sprintf("%s#%d", job, number) }

// A plan is a row, and one a range. Bounds are JSON as text: jsonb would write numbers
// anew. The two samples are what the rate is computed from.
const tablesDDL = `CREATE TABLE IF NOT EXISTS {plans} (
	job          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	fingerprint  TEXT NOT NULL,
	ranges       INTEGER NOT NULL,
	total        BIGINT NOT NULL,
	planned_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
	sampled_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
	sampled_rows BIGINT NOT NULL DEFAULT 0,
	before_at    TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
	before_rows  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS {ranges} (
	job        TEXT COLLATE "C" NOT NULL REFERENCES {plans} ON DELETE CASCADE,
	number     INTEGER NOT NULL,
	after      TEXT,
	until      TEXT,
	checkpoint TEXT COLLATE "C" NOT NULL UNIQUE,
	PRIMARY KEY (job, number)
);
`

// DDL returns the statements that make this package's tables, for those who run their
// migrations by hand. They do nothing where the tables are there.
func (s *Store) DDL() string { return s.checkpoints.DDL() + "\n" + s.sql(tablesDDL) }

// Migrate makes this package's tables where they are missing. Several programs may do it
// at once. River's own are made by its package rivermigrate.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.checkpoints.Migrate(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// PostgreSQL may refuse one of two that make the same table at once.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext($1))`, s.sql("riverjob {plans}")); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql(tablesDDL))
		return err
	})
	if err != nil {
		return fmt.Errorf("riverjob: make the tables: %w", err)
	}
	return nil
}

// sql completes a statement: the words in braces become the tables' names.
func (s *Store) sql(text string) string { return s.words.Replace(text) }
