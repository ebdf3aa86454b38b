package main

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// A faultyProxy stands between the program and a server. Once so many bytes have come from the
// server it cuts the connection that they came on, or is silent on all of them for good.
type faultyProxy struct {
	listener net.Listener
	to       [2]string // network and address of the server
	silent   bool

	mu    sync.Mutex
	left  int
	stuck chan struct{} // closed at the end of the test
}

// through returns the data source name of a server behind a proxy.
func through(t testing.TB, s server, dsn string, bytes int, silent bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &faultyProxy{listener: listener, silent: silent, left: bytes, stuck: make(chan struct{})}
	t.Cleanup(func() { listener.Close(); close(p.stuck) })
	addr := listener.Addr().String()
	if s == mariaDBServer {
		cfg, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
		if err != nil {
			t.Fatal(err)
		}
		p.to = [2]string{cfg.Net, cfg.Addr}
		cfg.Net, cfg.Addr = "tcp", addr
		dsn = "mysql://" + cfg.FormatDSN()
	} else {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		p.to = [2]string{"tcp", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))}
		if strings.HasPrefix(cfg.Host, "/") {
			p.to = [2]string{"unix", fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)}
		}
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		host, port, _ := net.SplitHostPort(addr)
		q.Set("host", host)
		q.Set("port", port)
		q.Set("sslmode", "disable")
		u.RawQuery = q.Encode()
		dsn = u.String()
	}
	go p.serve()
	return dsn
}

func (p *faultyProxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(p.to[0], p.to[1])
		if err != nil {
			client.Close()
			return
		}
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		go p.answer(client, server)
	}
}

// answer hands on what the server sends, up to the fault.
func (p *faultyProxy) answer(client, server net.Conn) {
	defer server.Close()
	defer client.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		fault := p.left > 0 && p.left <= n || p.silent && p.left <= 0
		send := n
		if fault {
			send = max(p.left-1, 0)
		}
		p.left -= n
		p.mu.Unlock()
		if _, err := client.Write(buffer[:send]); err != nil {
			return
		}
		switch {
		case fault && p.silent:
			<-p.stuck
			return
		case fault:
			return
		}
	}
}

// A connection that is cut before the first row is no end of a run, wherever that is.
func TestCutBeforeTheFirstRow(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn := newServerDemo(t, s, 50)
			dir := t.TempDir()
			args := []string{"-table=orders", "-count", "-partitions=2"}
			mustRun(t, dir, exitDone, "done: 50 rows", append(args, "-dsn="+dsn, "-out=want.csv")...)
			for n := 100; n < 9000; n += 890 {
				dir2 := t.TempDir()
				mustRun(t, dir2, exitDone, "done: 50 rows", append(args, "-dsn="+through(t, s, dsn, n, false), "-out=want.csv")...)
				for _, part := range []string{"/want.1of2.csv", "/want.2of2.csv"} {
					same(t, fmt.Sprintf("cut at %d", n), read(t, dir2+part), read(t, dir+part))
				}
			}
		})
	}
}

// A lock that is held at the start is outlasted like one in the middle.
func TestLockedAtTheStart(t *testing.T) {
	t.Parallel()
	for s, lock := range map[server]string{postgresServer: "LOCK TABLE t IN ACCESS EXCLUSIVE MODE", mariaDBServer: "LOCK TABLES t WRITE"} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn, db := newServerTables(t, s, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
			param, unlock := "&lock_timeout=50", "ROLLBACK"
			if s == mariaDBServer {
				param, unlock = "?lock_wait_timeout=1", "UNLOCK TABLES"
			}
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if s == postgresServer {
				lock = "BEGIN; " + lock
			}
			if _, err := conn.ExecContext(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
			r := start(t, "try 1 to look up t failed", t.TempDir(), "-dsn="+dsn+param, "-table=t")
			if _, err := conn.ExecContext(t.Context(), unlock); err != nil {
				t.Fatal(err)
			}
			<-r.ended
			if code := r.ProcessState.ExitCode(); code != exitDone {
				t.Errorf("exit code %d: %s%s", code, r.stdout, r.stderr)
			}
		})
	}
}

// A database that falls silent before the first row, or while it is read, is noticed.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		for says, n := range map[string]int{"looking up": 1500, "the rows of": 60_000} {
			t.Run(fmt.Sprint(s.driver, n), func(t *testing.T) {
				t.Parallel()
				dsn := newServerDemo(t, s, 3000)
				r := runIn(t, t.TempDir(), "-dsn="+through(t, s, dsn, n, true), "-table=orders", "-stall=1s")
				if r.code != exitFailed || !strings.Contains(r.stderr, "the database is silent: no ") || !strings.Contains(r.stderr, says) ||
					strings.Contains(r.stderr, "context canceled") {
					t.Errorf("exit code %d: %s", r.code, r.stderr)
				}
			})
		}
	}
}

// So is one that falls silent while the table is read once more.
func TestSilentVerify(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		t.Run(s.driver, func(t *testing.T) {
			t.Parallel()
			dsn, dir := newServerDemo(t, s, 3000), t.TempDir()
			args := []string{"-table=orders", "-source=shop", "-out=o.csv", "-stall=1s"}
			mustRun(t, dir, exitDone, "done: 3,000 rows", append(args, "-dsn="+dsn)...)
			r := runIn(t, dir, append(args, "-verify", "-dsn="+through(t, s, dsn, 60_000, true))...)
			if r.code != exitFailed || !strings.Contains(r.stderr, "the database is silent: no row has come") || !strings.Contains(r.stderr, "-verify reads") {
				t.Errorf("exit code %d: %s", r.code, r.stderr)
			}
		})
	}
}

// SIGINT ends the statement that is waited for, also on MariaDB, whose server would go on with
// it: a count, a page, the count of a split.
func TestInterruptedStatements(t *testing.T) {
	t.Parallel()
	for _, s := range []server{postgresServer, mariaDBServer} {
		for _, test := range []struct{ name, statement, arg string }{
			{"count", "%count(*)%slow%", "-count"},
			{"split", "%COUNT(*)%slow%", "-partitions=2"},
			{"page", "%slow%ORDER BY%LIMIT%", "-page=500"},
			{"at once", "%SELECT%slow%", "-verify"},
		} {
			t.Run(s.driver+" "+test.name, func(t *testing.T) {
				t.Parallel()
				key := "PRIMARY KEY"
				if test.name == "at once" {
					key = ""
				}
				insert, sleep, running := "INSERT INTO slow SELECT generate_series(1, 2000)", "pg_sleep(0.1) IS NOT NULL",
					"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE $1 AND query LIKE '%sleep%' AND query LIKE $2"
				if s == mariaDBServer {
					insert, sleep, running = "INSERT INTO slow SELECT seq FROM seq_1_to_2000", "sleep(0.1) = 0",
						"SELECT count(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = DATABASE() AND info LIKE BINARY ? AND info LIKE '%sleep%' AND info LIKE ?"
				}
				dsn, db := newServerTables(t, s, "CREATE TABLE slow (id int "+key+")", insert)
				own := "%" // other tests have such a table, too
				if s == postgresServer {
					if err := db.QueryRow("SELECT '%' || current_schema() || '%'").Scan(&own); err != nil {
						t.Fatal(err)
					}
				}
				r := startCommand(t, command(t, t.TempDir(), "-dsn="+dsn, "-table=slow", test.arg, "-where="+sleep, "-out=o.csv"))
				waitFor(t, r, db, running, test.statement, own, func(n int) bool { return n > 0 })
				if code := r.end(os.Interrupt); code != exitInterrupted {
					t.Errorf("exit code %d: %s", code, r.stderr)
				}
				waitFor(t, nil, db, running, test.statement, own, func(n int) bool { return n == 0 })
			})
		}
	}
}

// waitFor waits until so many statements run as are wanted, as long as a program runs.
func waitFor(t *testing.T, r *running, db *sql.DB, query, statement, own string, enough func(int) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var n int
		if err := db.QueryRow(query, statement, own).Scan(&n); err != nil {
			t.Fatal(err)
		}
		switch {
		case enough(n):
			return
		case time.Now().After(deadline):
			t.Fatalf("%d statements run on the server", n)
		}
		if r != nil {
			select {
			case <-r.ended:
				t.Fatalf("it has ended: %s%s", r.stdout, r.stderr)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}
