package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// formatFlags are the forms that examples/export writes, beside plain CSV.
var formatFlags = []struct {
	name  string
	ends  string
	flags []string
}{
	{plainCSV, ".csv", nil},
	{"TSV", ".tsv", []string{"-format", "tsv"}},
	{"JSON lines", ".jsonl", []string{"-format", "jsonl"}},
	{"CSV, zstd", ".csv.zst", []string{"-compress", "zstd"}},
	{"CSV, gzip", ".csv.gz", []string{"-compress", "gzip"}},
	{"JSON lines, zstd", ".jsonl.zst", []string{"-format", "jsonl", "-compress", "zstd"}},
	{"JSON lines, gzip", ".jsonl.gz", []string{"-format", "jsonl", "-compress", "gzip"}},
}

const plainCSV = "CSV"

// formatsPart compares what examples/export writes with each other: one table, from
// SQLite.
func (b *bench) formatsPart() ([]*result, error) {
	dir, err := os.MkdirTemp(b.temp, "formats")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := system{"sqlite", "SQLite", filepath.Join(dir, "bench.db"), ""}
	program, err := b.exportProgram(dir)
	if err != nil {
		b.leftOut("the formats of the program examples/export, which cannot be built: %v", err)
		return nil, nil
	}
	rows := b.items(1_000_000, 3000)
	name, err := s.fill(rows)
	if err != nil {
		return nil, err
	}
	r := race{name: "export", items: rows, rounds: min(b.exportRounds(), 3), columns: []column{
		{name: "speed", unit: "thousand rows/s", higher: true, noRank: true},
		{name: "size", unit: "MB", noRank: true},
		{name: "memory", unit: "MB", noRank: true},
	}}
	for _, f := range formatFlags {
		r.contestants = append(r.contestants, contestant{f.name, moduleOurs, ours, func() (outcome, error) {
			t := task{Out: filepath.Join(dir, "formats"+f.ends), Rows: rows}
			state := filepath.Join(dir, "state")
			defer os.RemoveAll(state)
			defer os.Remove(t.Out)
			a, err := client(exec.Command(program, append(f.flags, "-dsn", s.source, "-table", name, "-out", t.Out, "-state", state)...))
			if err != nil {
				return outcome{}, err
			}
			lines, size, err := countLines(t.Out)
			if !strings.HasPrefix(f.ends, ".jsonl") {
				lines-- // the names of the columns
			}
			o := outcome{sum: digest(lines)}
			o.values = []float64{float64(rows) / a.Seconds / 1000, float64(size) / 1e6, a.PeakMB}
			return o, err
		}})
	}
	done, err := b.run(table{
		id:    "export-formats",
		title: fmt.Sprintf("The program examples/export: formats and compressions, %s rows from SQLite", thousands(float64(rows))),
		about: "Each can be killed at any moment and gone on with. A compressed file has a member or frame of its own for each commit. The files are read back, and their lines counted.",
		races: []race{r},
		base:  plainCSV,
	})
	return []*result{done}, errors.Join(err, s.drop(name))
}

// countLines reads a file back.
func countLines(path string) (lines, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	var text io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		text, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f); err == nil {
			defer d.Close()
		}
		text = d
	}
	if err != nil {
		return 0, 0, err
	}
	in := bufio.NewScanner(text)
	for in.Scan() {
		lines++
	}
	return lines, info.Size(), in.Err()
}
