package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/pipeline/cursor"
)

// benchRows is the size of the tables, 1,000,000 unless EXPORT_BENCH_ROWS says
// otherwise.
func benchRows(b *testing.B) int {
	rows, err := strconv.Atoi(os.Getenv("EXPORT_BENCH_ROWS"))
	if os.Getenv("EXPORT_BENCH_ROWS") == "" {
		return 1_000_000
	}
	if err != nil || rows < 1 {
		b.Fatal("EXPORT_BENCH_ROWS must be a number of rows")
	}
	return rows
}

// BenchmarkExport compares, on the same rows, driver, encoder and output file: one
// streamed SELECT, which cannot be resumed; keyset pages as the program has them without
// -page; the same with the next page read meanwhile; and all of it, with checkpoints.
// They take turns, so that what else the machine does strikes all of them.
//
//	go -C examples test ./export -run - -bench Export/ -benchtime 1x
func BenchmarkExport(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkExport(b, newDemo(b, benchRows(b))) })
	b.Run("postgres", func(b *testing.B) { benchmarkExport(b, newServerDemo(b, postgresServer, benchRows(b))) })
	b.Run("postgres-narrow", func(b *testing.B) { benchmarkExport(b, newNarrowTable(b, benchRows(b))) })
	b.Run("mariadb", func(b *testing.B) { benchmarkExport(b, newServerDemo(b, mariaDBServer, benchRows(b))) })
}

// newNarrowTable makes a table of few and short columns: there is less of the driver's
// and the writer's work beside which what a page costs might not show.
func newNarrowTable(b *testing.B, rows int) (dsn string) {
	dsn, _ = newServerTables(b, postgresServer,
		"CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL, placed_at text NOT NULL, note text)",
		fmt.Sprintf(`INSERT INTO orders SELECT id, 'customer-' || (id * 7919 %% 100003), id * 104729 %% 500000 + 100,
			'2026-03-01T' || (10 + id %% 14) || ':' || (10 + id / 14 %% 50) || ':00Z', CASE WHEN id %% 3 = 0 THEN 'door-' || (id %% 97) END
			FROM generate_series(1::bigint, %d) AS id`, rows),
		"ANALYZE orders")
	return dsn
}

const benchRounds = 5

func benchmarkExport(b *testing.B, dsn string) {
	ctx := context.Background()
	c, err := parseFlags([]string{"-dsn=" + dsn, "-table=orders", "-out=" + filepath.Join(b.TempDir(), "bench.csv")}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	e := &export{config: c, voice: newVoice(io.Discard, "text")}
	if err := e.prepare(ctx); err != nil {
		b.Fatal(err)
	}
	defer e.db.Close()
	ways := []struct {
		name string
		run  func(ctx context.Context, e *export) error
	}{
		{"streamed-select", streamed},
		{"keyset", func(ctx context.Context, e *export) error { return paged(ctx, e, 0) }},
		{"keyset-prefetch", func(ctx context.Context, e *export) error { return paged(ctx, e, 0.01) }},
		{"resumable", resumable},
	}
	if system := e.db.System; system == "postgres" {
		if psql, err := exec.LookPath("psql"); err == nil {
			ways = append(ways, struct {
				name string
				run  func(ctx context.Context, e *export) error
			}{"psql-copy", func(ctx context.Context, e *export) error {
				return exec.CommandContext(ctx, psql, "-q", dsn, "-c", `\copy (SELECT * FROM orders ORDER BY id) TO '`+e.out+`' CSV HEADER`).Run()
			}})
		}
	}
	for b.Loop() {
		took, worked := map[string][]float64{}, map[string][]float64{}
		for range benchRounds {
			for _, way := range ways {
				runtime.GC()
				start, cpu := time.Now(), cpuTime()
				if err := way.run(ctx, e); err != nil {
					b.Fatalf("%s: %v", way.name, err)
				}
				took[way.name] = append(took[way.name], time.Since(start).Seconds())
				worked[way.name] = append(worked[way.name], (cpuTime() - cpu).Seconds())
				if err := os.Remove(e.out); err != nil {
					b.Fatal(err)
				}
			}
		}
		base := median(took[ways[0].name])
		for _, way := range ways {
			m := median(took[way.name])
			b.ReportMetric(float64(benchRows(b))/m, way.name+"-rows/s")
			b.Logf("%-16s %9s rows/s, %.2f times the streamed SELECT (median of %d); %4.0f ns of processor time a row", way.name,
				thousands(int64(float64(benchRows(b))/m)), base/m, benchRounds, median(worked[way.name])/float64(benchRows(b))*1e9)
		}
	}
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

// cpuTime is the processor time that this process has used: on a busy machine it
// tells more than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// streamed is what one writes without this library: one query, one loop.
func streamed(ctx context.Context, e *export) error {
	out, err := cursor.OpenFile(e.out)
	if err != nil {
		return err
	}
	defer out.Close()
	rows, err := e.db.QueryContext(ctx, "SELECT * FROM "+e.sources[0].From()+" ORDER BY id")
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	values := make([]any, len(e.sources[0].Columns))
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = &values[i]
	}
	var buf []byte
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, v := range values {
			if b, ok := v.([]byte); ok && types[i].DatabaseTypeName() == "TEXT" { // MariaDB's driver gives bytes
				values[i] = string(b)
			}
		}
		buf = e.encoders[0].Row(buf[:0], values)
		if _, err := out.Write(buf); err != nil {
			return err
		}
	}
	return rows.Err()
}

// paged is the same with keyset pages.
func paged(ctx context.Context, e *export, prefetch float64) error {
	out, err := cursor.OpenFile(e.out)
	if err != nil {
		return err
	}
	defer out.Close()
	query := *e.sources[0].Table
	query.Page.Prefetch = prefetch
	for row, err := range query.Stream(ctx, nil) {
		if err != nil {
			return err
		}
		if _, err := out.Write(row.Encoded); err != nil {
			return err
		}
	}
	return nil
}

// resumable is the program.
func resumable(ctx context.Context, e *export) error {
	c := *e.config
	c.restart = true
	return runExport(ctx, &c, io.Discard)
}

// BenchmarkExportMemory prints the peak memory of the whole program on a table, and
// on one of ten times the size.
func BenchmarkExportMemory(b *testing.B) {
	for b.Loop() {
		var peak [2]int64
		for i, rows := range []int{benchRows(b), 10 * benchRows(b)} {
			dsn := newDemo(b, rows)
			for _, format := range []string{"csv", "jsonl"} {
				cmd := command(b, b.TempDir(), "-dsn="+dsn, "-table=orders", "-format="+format)
				if r := execute(b, cmd); r.code != exitDone {
					b.Fatalf("%+v", r)
				}
				if runtime.GOOS != "linux" {
					b.Skip("peak RSS is in kilobytes on Linux only")
				}
				kb := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
				b.Logf("%11s rows to %-5s: peak RSS %.1f MB", thousands(int64(rows)), format, float64(kb)/1024)
				peak[i] = max(peak[i], kb)
			}
			os.Remove(strings.TrimPrefix(dsn, "sqlite:"))
		}
		b.ReportMetric(float64(peak[0])/1024, "MB")
		b.ReportMetric(float64(peak[1])/1024, "MB-at-10x")
		b.ReportMetric(float64(peak[1])/float64(peak[0]), "times")
	}
}
