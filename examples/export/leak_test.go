package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// secret is in every password of these tests. No output, no error, no file and no row of a
// checkpoint may have it: each program that command makes, and each folder that it is run
// in, is searched when its test ends, and the tables of each database before it is dropped.
const secret = "S3cr3t"

// secrets are secret, and the passwords of servers that have some of their own.
var secrets = sync.OnceValue(func() []string {
	all := []string{secret}
	if cfg, err := pgx.ParseConfig(os.Getenv(postgresServer.variable)); err == nil {
		all = append(all, cfg.Password)
	}
	if cfg, err := mysql.ParseDSN(strings.TrimPrefix(os.Getenv(mariaDBServer.variable), "mysql://")); err == nil {
		all = append(all, cfg.Passwd)
	}
	var long []string // a short one is found anywhere
	for _, s := range all {
		if len(s) >= len(secret) {
			long = append(long, s)
		}
	}
	return long
})

func hasSecret(text []byte) bool {
	for _, s := range secrets() {
		if bytes.Contains(text, []byte(s)) {
			return true
		}
	}
	return false
}

// leaks are the places in a folder where a secret is told: the names and contents of all
// files, but for those that the test has made with secrets in them, whose names end with
// .secret.
func leaks(dir string) (places []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // a program may be at work
		}
		if err != nil {
			return err
		}
		if hasSecret([]byte(d.Name())) {
			places = append(places, path+", by its name")
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, ".secret") {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if hasSecret(data) {
			places = append(places, fmt.Sprintf("%s: %.2000q", path, data))
		}
		return err
	})
	return places, err
}

// folders are those of runs, by their test, and whether they are to be searched at its end.
var folders sync.Map

// searchAtEnd looks for secrets in what a command has said, and in its folder, when the
// test ends.
func searchAtEnd(t testing.TB, cmd *exec.Cmd) {
	// The first to ask for it is the last to be called.
	if _, shared := folders.LoadOrStore(t.Name()+" "+cmd.Dir, true); !shared {
		t.Cleanup(func() {
			if search, _ := folders.Load(t.Name() + " " + cmd.Dir); search == true {
				searchFolder(t, cmd.Dir)
			}
		})
	}
	t.Cleanup(func() {
		for _, w := range []any{cmd.Stdout, cmd.Stderr} {
			said, ok := w.(fmt.Stringer)
			if !ok {
				t.Errorf("%q: what is written to a %T cannot be searched for secrets", cmd.Args[1:], w)
			} else if hasSecret([]byte(said.String())) {
				t.Errorf("%q tells a secret: %s", cmd.Args[1:], said)
			}
		}
	})
}

func searchFolder(t testing.TB, dir string) {
	t.Helper()
	places, err := leaks(dir)
	if err != nil {
		t.Errorf("the folder of a run cannot be searched for secrets: %v", err)
	}
	for _, place := range places {
		t.Errorf("a secret is in %s", place)
	}
}

// leave is for a folder that will be gone before its test ends.
func leave(t testing.TB, dir string) {
	t.Helper()
	searchFolder(t, dir)
	folders.Store(t.Name()+" "+dir, false)
}

// discard removes a folder before its test ends.
func discard(t testing.TB, dir string) {
	t.Helper()
	leave(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// searchTables looks for secrets in what the program has written to a database.
func searchTables(t testing.TB, db *sql.DB, schema string) {
	t.Helper()
	for _, table := range []string{"pipeline_checkpoints", "pipeline_keys"} {
		if err := searchTable(t, db, schema, table); err != nil {
			t.Errorf("%s cannot be searched for secrets: %v", table, err)
		}
	}
}

func searchTable(t testing.TB, db *sql.DB, schema, table string) error {
	t.Helper()
	var n int
	err := db.QueryRow("SELECT count(*) FROM information_schema.tables WHERE table_schema = '" + schema + "' AND table_name = '" + table + "'").Scan(&n)
	if err != nil || n == 0 {
		return err
	}
	rows, err := db.Query("SELECT * FROM " + table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, value := range values {
			if hasSecret(value) {
				t.Errorf("a secret is in %s of %s: %s", columns[i], table, value)
			}
		}
	}
	return rows.Err()
}

// What looks for secrets finds them.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/o.csv", "1,2\n")
	write(t, dir+"/dsn.secret", secret)
	if places, err := leaks(dir); err != nil || len(places) != 0 {
		t.Errorf("%v, %v", places, err)
	}
	if err := os.Mkdir(dir+"/.pipeline-state", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.pipeline-state/a.checkpoint", "{"+secret+"}")
	write(t, dir+"/"+secret+".lock", "")
	if places, err := leaks(dir); err != nil || len(places) != 2 {
		t.Errorf("%v, %v", places, err)
	}
	if _, err := leaks(dir + "/nosuch"); err == nil {
		t.Error("a folder that is not there was searched")
	}
}
