package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	osexec "os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A server is a database server of a test's own, which the test stops and starts
// again, on the same port with the same data. What it has committed survives its own
// end, not the machine's, which makes it quick.
type server struct {
	databaseKind
	args    []string // of the program, which stays in the foreground
	owner   *syscall.Credential
	signals map[stopMode]syscall.Signal
	admin   *sql.DB
	connect func(schema string) (*sql.DB, error)

	process *osexec.Cmd
	ended   chan struct{} // closed when process has ended
	log     bytes.Buffer  // what it has said, to be read when it has ended

	restarting sync.WaitGroup
	err        error // of a start that nobody waited for; guarded by restarting
}

// A stopMode is a way to stop a server.
type stopMode string

const (
	crash    stopMode = "crash"    // at once: what it was at is lost
	shutdown stopMode = "shutdown" // in order, but without waiting for its clients
)

// eachServer runs a test on a server of each kind, with both at once: they sleep a
// good part of the time.
func eachServer(t *testing.T, test func(t *testing.T, s *server)) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newPostgresServer(t))
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		test(t, newMariaDBServer(t))
	})
}

func newPostgresServer(t testing.TB) *server {
	t.Helper()
	initdb := serverProgram(t, "initdb", "/usr/lib/postgresql/*/bin")
	postgres := serverProgram(t, "postgres", "/usr/lib/postgresql/*/bin")
	var owner *syscall.Credential
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		owner = credential(t, "postgres")
	}
	data, port := serverFolder(t, owner), freePort(t)
	s := &server{
		databaseKind: databases[1], owner: owner,
		signals: map[stopMode]syscall.Signal{crash: syscall.SIGQUIT, shutdown: syscall.SIGINT},
		args: []string{postgres, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "fsync=off", "-c", "shared_buffers=8MB", "-c", "autovacuum=off", "-c", "max_wal_size=1GB",
			// A transaction that asks for it waits at its commit for a replica that never comes.
			"-c", "synchronous_standby_names=nobody", "-c", "synchronous_commit=local"},
	}
	s.connect = func(schema string) (*sql.DB, error) {
		cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&search_path=%s", port, schema))
		if err != nil {
			return nil, err
		}
		cfg.DialFunc = dialNarrow
		return stdlib.OpenDB(*cfg), nil
	}
	s.prepare(t, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	return s
}

func newMariaDBServer(t testing.TB) *server {
	t.Helper()
	install := serverProgram(t, "mariadb-install-db", "/usr/bin")
	mariadbd := serverProgram(t, "mariadbd", "/usr/sbin")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	data, port := serverFolder(t, nil), freePort(t)
	// It removes what lies about in the folder for temporary tables when it starts: in the
	// usual one those of other servers, while they read them.
	temporary := "--tmpdir=" + serverFolder(t, nil)
	s := &server{
		databaseKind: databases[2],
		signals:      map[stopMode]syscall.Signal{crash: syscall.SIGKILL, shutdown: syscall.SIGTERM},
		args: []string{mariadbd, "--no-defaults", "--user=" + me.Username, "--datadir=" + data, temporary, "--port=" + strconv.Itoa(port), "--bind-address=127.0.0.1",
			"--socket=" + data + "/socket", "--pid-file=" + data + "/pid", "--skip-name-resolve", "--performance-schema=OFF", "--innodb-buffer-pool-size=16M",
			"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync",
			// Once it is enabled, commits wait for a replica that never comes.
			"--log-bin=" + data + "/binlog", "--server-id=1", "--rpl-semi-sync-master-timeout=3600000"},
	}
	s.connect = func(schema string) (*sql.DB, error) {
		cfg := mysql.NewConfig()
		cfg.User, cfg.Net, cfg.Addr, cfg.DBName = "root", "tcp", fmt.Sprintf("127.0.0.1:%d", port), schema
		cfg.DialFunc = dialNarrow
		cfg.Logger = &mysql.NopLogger{} // it would tell of each connection that ends
		c, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(c), nil
	}
	s.prepare(t, install, "--no-defaults", "--user="+me.Username, "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		temporary, "--innodb-flush-method=nosync")
	return s
}

// dialNarrow dials a connection that holds few rows on their way, so that a server
// that stops in the midst of a page has not sent all of it.
func dialNarrow(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetReadBuffer(256 << 10)
}

// serverProgram finds a program of a server's, and skips the test where there is none.
func serverProgram(t testing.TB, name, folders string) string {
	t.Helper()
	if path, err := osexec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob(filepath.Join(folders, name))
	if len(found) == 0 {
		t.Skipf("no server of this test's own: %s is neither in PATH nor in %s", name, folders)
	}
	return slices.Max(found)
}

// credential is that of a user; it skips the test where there is no such user.
func credential(t testing.TB, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("no server of this test's own: it does not run as root, and %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// serverFolder makes a folder that the server's owner can reach, which those of
// t.TempDir are not.
func serverFolder(t testing.TB, owner *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dbtest-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// freePort finds a port below those that the system gives to clients: it must stay
// free while the server is down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

// run returns a program, to be run as the server's owner; it ends with this process.
func (s *server) run(args ...string) *osexec.Cmd {
	cmd := osexec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	tied(cmd.SysProcAttr)
	return cmd
}

// prepare makes the data with a program, and starts the server.
func (s *server) prepare(t testing.TB, args ...string) {
	t.Helper()
	if out, err := s.run(args...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	var err error
	if s.admin, err = s.connect(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.admin.Close()
		s.stop(crash)
	})
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// start starts the server, and returns when it answers.
func (s *server) start() error {
	s.log.Reset()
	cmd, ended := s.run(s.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process, s.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // it ends as it is told to, or says why in its log
		close(ended)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.admin.Ping()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("the server has ended: %s", &s.log)
		case <-time.After(10 * time.Millisecond): // the server's clock is a real one
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			<-ended
			return fmt.Errorf("the server does not answer: %v\n%s", err, &s.log)
		}
	}
}

// stop stops the server, and returns when it is down.
func (s *server) stop(how stopMode) {
	s.restarting.Wait()
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(s.signals[how]) // fails where it has ended
	<-s.ended
	s.process = nil
}

// restart stops the server, returns, and has it started again a moment later, so that
// somebody finds it down.
func (s *server) restart(how stopMode) {
	s.stop(how)
	s.restarting.Go(func() {
		time.Sleep(50 * time.Millisecond)
		s.err = errors.Join(s.err, s.start())
	})
}

// up waits until the server has been started again.
func (s *server) up(t testing.TB) {
	t.Helper()
	if s.restarting.Wait(); s.err != nil {
		t.Fatal(s.err)
	}
}

// schema makes a schema (a database in MariaDB) and returns a pool that works in it.
func (s *server) schema(t testing.TB) database {
	t.Helper()
	name := uniqueName()
	exec(t, s.admin, "CREATE SCHEMA "+name)
	db, err := s.connect(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return database{db, s.databaseKind}
}
