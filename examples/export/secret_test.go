package main

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// tellsNothing looks for secrets in what a run has said, and in its folder, before the next
// run writes over it.
func tellsNothing(t *testing.T, what, dir string, r result) {
	t.Helper()
	if hasSecret([]byte(r.stdout + r.stderr)) {
		t.Errorf("%s: a secret is told: %+v", what, r)
	}
	searchFolder(t, dir)
}

// A way is one in which users name a database.
type way struct {
	name string
	args []string
	env  []string
}

// runWay runs the program with a database named in one way, in an environment that names
// no other.
func runWay(t *testing.T, dir string, w way, args ...string) result {
	t.Helper()
	cmd := command(t, dir, append(args, w.args...)...)
	var env []string
	for _, variable := range cmd.Env {
		if name, _, _ := strings.Cut(variable, "="); !strings.HasPrefix(name, "PG") && name != "DATABASE_URL" {
			env = append(env, variable)
		}
	}
	cmd.Env = append(append(env, "HOME="+dir), w.env...)
	r := execute(t, cmd)
	tellsNothing(t, w.name+" "+strings.Join(args, " "), dir, r)
	return r
}

// resumedEveryWay begins an export with the database named in the first way, and goes on
// with each of the others until the last one finishes it. Each way fails in some ways, too.
func resumedEveryWay(t *testing.T, table string, ways []way, failing []way) {
	t.Helper()
	dir := t.TempDir()
	for _, w := range ways {
		for _, variable := range w.env {
			if path, ok := strings.CutPrefix(variable, "PGPASSFILE="); ok {
				if err := os.WriteFile(path, []byte("*:*:*:*:"+secret+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	args := []string{"-table=" + table, "-out=o.csv", "-rate=500", "-page=50", "-commit=50"}
	must := func(w way, code int, says string, args ...string) {
		t.Helper()
		if r := runWay(t, dir, w, args...); r.code != code || !strings.Contains(r.stdout+r.stderr, says) {
			t.Fatalf("%s, %q: exit code %d, want %d and %q: %s%s", w.name, args, r.code, code, says, r.stdout, r.stderr)
		}
	}
	for i, w := range ways {
		if i < len(ways)-1 { // a run that a limit on its time ends with SIGTERM
			interrupted := way{w.name, w.args, append([]string{}, w.env...)}
			cmd := command(t, dir, append(append([]string{}, args...), interrupted.args...)...)
			var env []string
			for _, variable := range cmd.Env {
				if name, _, _ := strings.Cut(variable, "="); !strings.HasPrefix(name, "PG") && name != "DATABASE_URL" {
					env = append(env, variable)
				}
			}
			cmd.Env = append(append(env, "HOME="+dir), w.env...)
			r := startCommand(t, cmd)
			says := "going on with"
			if i == 0 {
				says = "exporting"
			}
			r.wait(t, r.stdout, says)
			r.wait(t, r.stdout, "rows/s")
			if code := r.end(syscall.SIGTERM); code != exitInterrupted {
				t.Fatalf("%s: exit code %d: %s%s", w.name, code, r.stdout, r.stderr)
			}
			tellsNothing(t, w.name, dir, result{code: 0, stdout: r.stdout.String(), stderr: r.stderr.String()})
		}
		must(w, exitFailed, "is now", append(args, "-where=id > 5")...)
		must(w, exitFailed, "nosuch", "-table=nosuch", "-out=p.csv")
		must(w, exitFailed, "-where", "-table="+table, "-out=p.csv", "-where=nosuch = 1")
	}
	for _, w := range failing {
		must(w, exitFailed, "export:", args...)
	}
	last := ways[len(ways)-1]
	must(last, exitDone, "going on with", append(args, "-rate=0")...)
	must(last, exitDone, "nothing to do", args...)
	must(way{name: "status"}, exitDone, "complete", "-status", "-out=o.csv")
	must(way{name: "help", args: last.args[:0]}, exitDone, "Usage", append(last.args, "-help")...)
	whole := t.TempDir()
	dir, before := whole, dir
	must(last, exitDone, "done", "-table="+table, "-out=o.csv")
	same(t, "the file", read(t, before+"/o.csv"), read(t, dir+"/o.csv"))
}

func TestNoSecretIsToldOfPostgres(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newServerDemo(t, postgresServer, 30_000)
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	schema := strings.TrimPrefix(cfg.RuntimeParams["options"], "-csearch_path=")
	files := t.TempDir()
	inFile := filepath.Join(files, "dsn.secret")
	write(t, inFile, fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s\n", cfg.Host, cfg.Port, cfg.User, secret, cfg.Database))
	user, password := url.QueryEscape(cfg.User), url.QueryEscape(secret+"/?#@:%")
	at := fmt.Sprintf("%s:%d/%s", cfg.Host, cfg.Port, url.PathEscape(cfg.Database))
	resumedEveryWay(t, schema+".orders", []way{
		{"URL", []string{"-dsn=postgres://" + user + ":" + password + "@" + at + "?sslmode=disable"}, nil},
		{"another password and sslmode", []string{"-dsn=postgresql://" + user + ":2" + password + "@" + at + "?sslmode=prefer&sslpassword=" + secret}, nil},
		{"in the query", []string{fmt.Sprintf("-dsn=postgres://%s?user=%s&password=%s&default_query_exec_mode=exec", at, user, secret)}, nil},
		{"keywords", []string{fmt.Sprintf("-dsn=host=%s port=%d user=%s password='%s x' dbname=%s", cfg.Host, cfg.Port, cfg.User, secret, cfg.Database)}, nil},
		{"@FILE", []string{"-dsn=@" + inFile}, nil},
		{"DATABASE_URL", nil, []string{"DATABASE_URL=postgres://" + user + ":" + password + "@" + at}},
		{"PG*", nil, []string{"PGHOST=" + cfg.Host, fmt.Sprint("PGPORT=", cfg.Port), "PGUSER=" + cfg.User, "PGPASSWORD=" + secret, "PGDATABASE=" + cfg.Database}},
		{"a pass file", []string{"-dsn=postgres://" + user + "@" + at}, []string{"PGPASSFILE=" + filepath.Join(files, "pass.secret")}},
	}, []way{
		{"no server", []string{"-dsn=postgres://u:" + secret + "@127.0.0.1:1/d"}, nil},
		{"no host", []string{"-dsn=postgres://u:" + secret + "@nosuch.invalid/d"}, nil},
		{"no database", []string{fmt.Sprintf("-dsn=postgres://%s:%s@%s:%d/nosuch?sslpassword=%[2]s", user, secret, cfg.Host, cfg.Port)}, nil},
		{"no URL", []string{"-dsn=postgres://u:" + secret + "/x?@h/d"}, nil},
		{"no port", []string{"-dsn=host=h port=x password=" + secret}, nil},
		{"no certificate", []string{"-dsn=postgres://" + at + "?user=u&password=" + secret + "&sslmode=verify-full&sslrootcert=/nonexistent"}, nil},
	})
}

func TestNoSecretIsToldOfMariaDB(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newServerDemo(t, mariaDBServer, 30_000)
	cfg, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
	if err != nil {
		t.Fatal(err)
	}
	name := "export_" + strings.ToLower(rand.Text()[:12])
	password := secret + "/?#@:%"
	_, db := newServerTables(t, mariaDBServer,
		fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED BY '%s'", name, password),
		fmt.Sprintf("GRANT SELECT, EXECUTE ON %s.* TO %s@'%%'", cfg.DBName, name))
	t.Cleanup(func() { db.Exec("DROP USER " + name + "@'%'") })
	inFile := filepath.Join(t.TempDir(), "dsn.secret")
	write(t, inFile, name+":"+password+"@tcp("+cfg.Addr+")/"+cfg.DBName)
	escaped := url.QueryEscape(password)
	host := strings.Replace(cfg.Addr, "127.0.0.1", "localhost", 1)
	resumedEveryWay(t, "orders", []way{
		{"URL", []string{"-dsn=mysql://" + name + ":" + escaped + "@" + cfg.Addr + "/" + cfg.DBName}, nil},
		{"MariaDB's URL, another name of the host", []string{"-dsn=mariadb://" + name + ":" + escaped + "@" + host + "/" + cfg.DBName + "?timeout=9s"}, nil},
		{"the driver's form", []string{"-dsn=" + name + ":" + password + "@tcp(" + cfg.Addr + ")/" + cfg.DBName}, nil},
		{"@FILE", []string{"-dsn=@" + inFile}, nil},
		{"DATABASE_URL", nil, []string{"DATABASE_URL=mysql://" + name + ":" + escaped + "@" + cfg.Addr + "/" + cfg.DBName}},
	}, []way{
		{"another password", []string{"-dsn=mysql://" + name + ":" + secret + "@" + cfg.Addr + "/" + cfg.DBName}, nil},
		{"no server", []string{"-dsn=u:" + password + "@tcp(127.0.0.1:1)/d"}, nil},
		{"no database", []string{"-dsn=mysql://" + name + ":" + escaped + "@" + cfg.Addr + "/nosuch"}, nil},
		{"no URL", []string{"-dsn=mysql://u:" + password + "@h/d"}, nil},
	})
}

// An export whose database is reached in another way goes on where -source says that it is
// the same one.
func TestSourceNamesTheDatabase(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn := newDemo(t, 1000)
	moved := filepath.Join(t.TempDir(), "elsewhere.db")
	write(t, moved, read(t, strings.TrimPrefix(dsn, "sqlite:")))
	for _, first := range []string{"-source=orders", "-source="} {
		dir := t.TempDir()
		args := []string{"-table=orders", "-out=o.csv"}
		p := startSlow(t, dir, append(args, "-dsn="+dsn, first, "-rate=200", "-page=10", "-commit=10")...)
		p.end(os.Kill)
		args = append(args, "-dsn="+moved)
		r := mustRun(t, dir, exitFailed, "-dsn is now", args...)
		if !strings.Contains(r.stderr, "-source") {
			t.Errorf("it does not name -source: %s", r.stderr)
		}
		if first == "-source=" { // the name that the message says
			first = "-source=" + dsn
		}
		mustRun(t, dir, exitDone, "going on with", append(args, first)...)
		same(t, "the export", read(t, dir+"/o.csv"), undisturbed(t, []string{"-table=orders", "-out=o.csv", "-dsn=" + dsn}, []string{"o.csv"})[0])
	}
}

// Checkpoints are their owner's alone, outputs as the umask has it.
func TestModesOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := command(t, dir)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `umask 027; exec "$0" "$@"`, cmd.Args[0], "-dsn=" + newDemo(t, 10), "-table=orders", "-out=o.csv"}
	if r := execute(t, cmd); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	info, err := os.Stat(dir + "/o.csv")
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("o.csv: %v, %v", info.Mode(), err)
	}
	files, err := filepath.Glob(dir + "/.pipeline-state/*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}
