package main

import (
	"context"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/pipeline/cursor"
	"example.com/pipeline/examples/export/source"
)

// prepared returns an export that is ready to run.
func prepared(t *testing.T, args ...string) *export {
	t.Helper()
	c, err := parseFlags(append(args, "-out="+filepath.Join(t.TempDir(), "out.csv")), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	e := &export{config: c, voice: newVoice(io.Discard, "text")}
	if err := e.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.db.Close() })
	return e
}

// TestPages gives the number of rows with -page; without it pages grow as far as is good for
// SQLite.
func TestPages(t *testing.T) {
	dsn := "-dsn=" + newDemo(t, 10)
	for page, want := range map[string]cursor.PageConfig{
		"":         {Max: 16_000},
		"-page=50": {Size: 50, Max: 50},
	} {
		q := prepared(t, append(strings.Fields(page), dsn, "-table=orders")...).sources[0]
		if q.Page.Size != want.Size || q.Page.Max != want.Max {
			t.Errorf("%q: got %+v", page, q.Page)
		}
	}
}

// One stream from a server has one processor, all else has what there is.
func TestProcessors(t *testing.T) {
	all := runtime.GOMAXPROCS(0)
	for _, tt := range []struct {
		workers          int
		compress, system string
		set              string // GOMAXPROCS in the environment
		want             int
	}{
		{1, "", source.Postgres, "", 1},
		{1, "", source.MySQL, "", 1},
		{1, "", source.SQLite, "", 7},
		{1, "zstd", source.Postgres, "", 7},
		{2, "", source.Postgres, "", 7},
		{1, "", source.Postgres, "7", 7},
	} {
		t.Setenv("GOMAXPROCS", tt.set)
		runtime.GOMAXPROCS(7)
		tuneProcessors(&config{workers: tt.workers, compress: tt.compress}, tt.system)
		got := runtime.GOMAXPROCS(all)
		if got != tt.want {
			t.Errorf("%+v: got %d", tt, got)
		}
	}
}
