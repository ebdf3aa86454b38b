package main

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultsFollowOut(t *testing.T) {
	for _, test := range []struct {
		args                string
		out, format, folder string
		gzip                bool
	}{
		{"", "orders.csv", "csv", ".pipeline-state", false},
		{"-gzip", "orders.csv.gz", "csv", ".pipeline-state", true},
		{"-format=jsonl", "orders.jsonl", "jsonl", ".pipeline-state", false},
		{"-out=x/y.jsonl.gz", "x/y.jsonl.gz", "jsonl", "x/.pipeline-state", true},
		{"-out=y.ndjson", "y.ndjson", "jsonl", ".pipeline-state", false},
		{"-out=y.jsonl -format=csv", "y.jsonl", "csv", ".pipeline-state", false},
		{"-out=y.gz -gzip=false", "y.gz", "csv", ".pipeline-state", false},
		{"-dsn=sqlite:x -table=../a/b", ".._a_b.csv", "csv", ".pipeline-state", false},
	} {
		c, err := parseFlags(strings.Fields(test.args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		if c.out != test.out || c.format != test.format || c.gzip != test.gzip || c.state != test.folder {
			t.Errorf("%s: out %s, format %s, gzip %v, state %s", test.args, c.out, c.format, c.gzip, c.state)
		}
	}
}

func TestPartPaths(t *testing.T) {
	for out, want := range map[string]string{
		"a.csv": "a.2of3.csv", "x.d/a.csv.gz": "x.d/a.2of3.csv.gz", "a.jsonl": "a.2of3.jsonl", "a": "a.2of3", ".csv": ".csv.2of3", "a.b": "a.b.2of3",
	} {
		if got := partPath(out, 1, 3); got != want {
			t.Errorf("%s: %s, want %s", out, got, want)
		}
	}
}

// A file has one job, whatever way leads to it; two files have two.
func TestJobName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a.csv", "")
	t.Chdir(dir)
	if out, err := exec.Command("ln", "-s", "a.csv", "link.csv").CombinedOutput(); err != nil {
		t.Skipf("no symbolic links: %v: %s", err, out)
	}
	name := func(out string) string {
		job, err := jobName(out)
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	want := name("a.csv")
	for _, out := range []string{"./a.csv", filepath.Join(dir, "a.csv"), "../" + filepath.Base(dir) + "/a.csv", "link.csv"} {
		if got := name(out); !strings.HasSuffix(got, want[strings.LastIndex(want, "-"):]) {
			t.Errorf("%s is job %s, want %s", out, got, want)
		}
	}
	if name("b.csv") == want {
		t.Error("two files with one job")
	}
}

func TestPasswordsAreHidden(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:se:cr@et@h:1/d?x=y": "postgres://u:PASSWORD@h:1/d?x=y",
		"postgres://u@h/d":                "postgres://u@h/d",
		"mysql://u:p@unix(/a.sock)/d":     "mysql://u:PASSWORD@unix(/a.sock)/d",
		"sqlite:a:b@c":                    "sqlite:a:b@c",
	} {
		if got := hidePassword(dsn); got != want {
			t.Errorf("%s: %s, want %s", dsn, got, want)
		}
	}
}

func TestMySQLNames(t *testing.T) {
	for dsn, want := range map[string]string{
		"mysql://u:p%2Fw@h/d":          "mysql://tcp(h:3306)/d",
		"mysql://u@[::1]:33/d":         "mysql://tcp([::1]:33)/d",
		"mysql://u:p@unix(/a.sock)/d":  "mysql://unix(/a.sock)/d",
		"mysql://u@h/d?charset=latin1": "mysql://tcp(h:3306)/d",
		"mysql://u:p@tcp(h:1)/d?tls=x": "",
		"mysql://u@h/":                 "",
		"mysql://%zz@h/d":              "",
	} {
		d, _, source, err := parseDSN(dsn, false)
		if want == "" {
			if err == nil {
				t.Errorf("%s: no error", dsn)
			}
			continue
		}
		if err != nil || d.name != want {
			t.Errorf("%s: %v, %v, want %s", dsn, d, err, want)
			continue
		}
		if strings.Contains(d.name, "p@") || !strings.Contains(source, "time_zone") || !strings.Contains(source, "charset=utf8mb4") {
			t.Errorf("%s: name %s, source %s", dsn, d.name, source)
		}
	}
}

// Whatever the flags are, parsing gives an error or a config that makes sense.
func FuzzFlags(f *testing.F) {
	f.Add("-dsn=sqlite:a.db\n-table=t\n-key=a,b\n-out=x.csv.gz\n-partitions=3")
	f.Add("-page\n10\n-rate=1e3\n-commit=5\n-restart\n-store=db")
	f.Add("-out=-\n-format=\n-columns=,")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseFlags(strings.Split(text, "\n"), io.Discard)
		if err != nil {
			return
		}
		if c.page < 1 || c.partitions < 1 || c.workers < 1 || c.workers > c.partitions || c.rate < 0 || c.out == "" || c.state == "" ||
			c.format != "csv" && c.format != "jsonl" || (c.dsn == "") != (c.table == "") {
			t.Errorf("%q: %+v", text, c)
		}
		if strings.Contains(c.command(), "-restart") && !strings.Contains(text, "restart=") && !strings.Contains(text, "'") {
			for _, word := range strings.Fields(c.command()) {
				if word == "-restart=true" {
					t.Errorf("%q: to go on it would restart: %s", text, c.command())
				}
			}
		}
	})
}

func FuzzDSN(f *testing.F) {
	f.Add("postgres://u:p@h/d")
	f.Add("mysql://u:p@h:1/d?a=b")
	f.Add("mysql://u:p@unix(/s)/d")
	f.Add("sqlite:/nonexistent/a?b#c")
	f.Fuzz(func(t *testing.T, dsn string) {
		d, _, _, err := parseDSN(dsn, false)
		if err == nil && (d.system == "" || d.dialect == nil || d.name == "") {
			t.Errorf("%q: %+v", dsn, d)
		}
	})
}

// A shell reads a quoted word as it was.
func TestShellQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", `$HOME "x" \ ` + "`id`", "*", "~", "a\nb", "Zoë", "-a=b&c;d|e"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q became %q, %v", word, out, err)
		}
	}
}
