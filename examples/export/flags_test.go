package main

import (
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"example.com/pipeline/examples/export/encode"
)

func TestDefaultsFollowOut(t *testing.T) {
	for _, test := range []struct {
		args                string
		out, format, folder string
		compress            string
	}{
		{"", "orders.csv", "csv", ".pipeline-state", ""},
		{"-compress=gzip", "orders.csv.gz", "csv", ".pipeline-state", "gzip"},
		{"-compress=zstd", "orders.csv.zst", "csv", ".pipeline-state", "zstd"},
		{"-out=y.jsonl.zst", "y.jsonl.zst", "jsonl", ".pipeline-state", "zstd"},
		{"-format=jsonl", "orders.jsonl", "jsonl", ".pipeline-state", ""},
		{"-out=x/y.jsonl.gz", "x/y.jsonl.gz", "jsonl", "x/.pipeline-state", "gzip"},
		{"-out=y.ndjson", "y.ndjson", "jsonl", ".pipeline-state", ""},
		{"-out=y.tsv.GZ", "y.tsv.GZ", "tsv", ".pipeline-state", "gzip"},
		{"-out=y.json -format=jsonl", "y.json", "jsonl", ".pipeline-state", ""},
		{"-out=y -format=tsv -compress=", "y", "tsv", ".pipeline-state", ""},
		{"-out=y.2026", "y.2026", "csv", ".pipeline-state", ""},
		{`-dsn=sqlite:x -table="s"."t.x"`, "s.t.x.csv", "csv", ".pipeline-state", ""},
		{"-dsn=sqlite:x -table=../a/b", ".._a_b.csv", "csv", ".pipeline-state", ""},
	} {
		c, err := parseFlags(strings.Fields(test.args), io.Discard)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		if c.out != test.out || c.format.Name != test.format || c.compress != test.compress || c.state != test.folder {
			t.Errorf("%s: out %s, format %s, compress %q, state %s", test.args, c.out, c.format.Name, c.compress, c.state)
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
			!c.status && !slices.Contains(encode.Formats, c.format.Name) || !c.status && (c.dsn == "") != (c.table == "" && c.query == "") {
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

// A shell reads a quoted word as it was.
func TestShellQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", `$HOME "x" \ ` + "`id`", "*", "~", "a\nb", "Zoë", "-a=b&c;d|e"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q became %q, %v", word, out, err)
		}
	}
}
