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

// An ending that says what is not written here is refused, with -format, too, and below one of
// a compression.
func TestEndingsThatLie(t *testing.T) {
	for ending := range strings.FieldsSeq(`.json .geojson .bson .msgpack .cbor .proto .pb .xml .yaml .toml .ini .parquet .pq .avro .orc .arrow .feather
		.h5 .hdf5 .npy .npz .pickle .pkl .dta .sav .rds .ics .vcf .kml .gpx .shp .db .sqlite .duckdb .dbf .mdb .accdb .sql .dump
		.xlsx .xls .ods .doc .docx .pptx .rtf .html .htm .md .tex .pdf .tar .jar .deb .rpm`) {
		for _, args := range [][]string{{"-out=x" + ending}, {"-out=x" + strings.ToUpper(ending)}, {"-out=x.csv" + ending}, {"-out=x" + ending + ".gz"}, {"-out=x" + ending, "-format=csv"}} {
			if _, err := parseFlags(args, io.Discard); err == nil || !strings.Contains(err.Error(), "its ending says "+ending) {
				t.Errorf("%q: %v", args, err)
			}
		}
	}
	for ending := range strings.FieldsSeq(".tgz .tbz .tbz2 .txz .zip .7z .rar .lz .lz4 .xz .bz2 .br .gpg .pgp .age .enc") {
		for _, args := range [][]string{{"-out=x" + ending}, {"-out=x.csv" + ending}, {"-out=x.csv" + ending, "-format=csv"}} {
			if _, err := parseFlags(args, io.Discard); err == nil || !strings.Contains(err.Error(), "its ending says "+ending) {
				t.Errorf("%q: %v", args, err)
			}
		}
	}
	for _, out := range []string{"x", "x.bak", "x.txt", "x.csv.bak", "x.gz.csv", "x.2026.gz", "x.csv.gz", ".gz"} {
		if _, err := parseFlags([]string{"-out=" + out}, io.Discard); err != nil {
			t.Errorf("%s: %v", out, err)
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
