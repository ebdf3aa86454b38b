package riverjob_test

import (
	"bytes"
	"context"
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
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A server is a PostgreSQL of a test's own, which the test stops and starts again. What
// it has committed survives its own end, not the machine's, which makes it quick.
type server struct {
	args  []string
	owner *syscall.Credential
	dsn   string

	process *osexec.Cmd
	ended   chan struct{}
	log     bytes.Buffer // to be read when it has ended
}

func newServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s := &server{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skipf("no server of this test's own: it runs as root, and %v", err)
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data, err := os.MkdirTemp("", "riverjob-server-") // its owner cannot reach what t.TempDir returns
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	if s.owner != nil {
		if err := os.Chown(data, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := s.run(program(t, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := freePort(t)
	s.dsn = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	s.args = []string{program(t, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "autovacuum=off"}
	for _, setting := range settings {
		s.args = append(s.args, "-c", setting)
	}
	t.Cleanup(func() { s.stop(syscall.SIGQUIT) })
	s.start(t)
	return s
}

func program(t testing.TB, name string) string {
	t.Helper()
	if path, err := osexec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Skipf("no server of this test's own: %s is neither in PATH nor in /usr/lib/postgresql", name)
	}
	return slices.Max(found)
}

// freePort finds a port below those that the system gives to clients: it must stay
// free while the server is down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(10_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts the server, and returns when it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.log.Reset()
	cmd, ended := s.run(s.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // it ends as it is told to, or says why in its log
		close(ended)
	}()
	until(t, "the server's start", func() bool {
		select {
		case <-ended:
			t.Fatalf("the server has ended: %s", &s.log)
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.dsn)
		return err == nil && conn.Close(ctx) == nil
	})
}

// stop stops the server: SIGQUIT at once, as in a crash, SIGINT in order, but without
// waiting for its clients.
func (s *server) stop(how syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(how) // fails where it has ended
	<-s.ended
	s.process = nil
}
