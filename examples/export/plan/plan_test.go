package plan

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPartFiles(t *testing.T) {
	for out, want := range map[string]string{
		"a.csv": "a.2of3.csv", "x.d/a.csv.gz": "a.2of3.csv.gz", "a.jsonl.zst": "a.2of3.jsonl.zst", "a.tsv": "a.2of3.tsv", "a": "a.2of3", ".csv": ".csv.2of3", "a.b": "a.b.2of3",
	} {
		if got := PartFile(out, 1, 3); got != want {
			t.Errorf("%s: %s, want %s", out, got, want)
		}
	}
}

func TestFileName(t *testing.T) {
	for table, want := range map[string]string{"orders": "orders", "../a/b": ".._a_b", "s.t x": "s.t x", "a\nb": "a_b"} {
		if got := FileName(table); got != want {
			t.Errorf("%s: %s, want %s", table, got, want)
		}
	}
}

// A file has one job, whatever way leads to it; two files have two.
func TestJobNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("a.csv", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.csv", "link.csv"); err != nil {
		t.Skip(err)
	}
	for _, state := range []string{"", "state"} {
		name := func(out string) string {
			job, err := Job(out, state)
			if err != nil {
				t.Fatal(err)
			}
			return job
		}
		want := name("a.csv")
		for _, out := range []string{"./a.csv", filepath.Join(dir, "a.csv"), "../" + filepath.Base(dir) + "/a.csv", "link.csv"} {
			if got := name(out); got != want {
				t.Errorf("%s is job %s, want %s", out, got, want)
			}
		}
		if name("b.csv") == want {
			t.Error("two files with one job")
		}
	}
}

// A folder that is moved with its checkpoints keeps its jobs; a whole path does not.
func TestJobsMoveWithTheirFolder(t *testing.T) {
	dir := t.TempDir()
	var jobs, whole []string
	for _, folder := range []string{"one", "two"} {
		path := filepath.Join(dir, folder)
		if err := os.MkdirAll(filepath.Join(path, "state"), 0o777); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(path, "a.csv")
		job, err := Job(out, filepath.Join(path, "state"))
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
		if job, err = Job(out, ""); err != nil {
			t.Fatal(err)
		}
		whole = append(whole, job)
	}
	if jobs[0] != jobs[1] || whole[0] == whole[1] {
		t.Errorf("seen from the state folder %v, as whole paths %v", jobs, whole)
	}
}

func TestDifference(t *testing.T) {
	base := Settings{Database: "sqlite:/a/x.db", Near: "../x.db", Tables: []Table{{Name: "t", Key: "id", Columns: "id,a", Query: "1"}}, Format: "csv"}
	moved := base
	moved.Database = "sqlite:/b/x.db"
	if d := moved.Difference(base); d != "" {
		t.Errorf("moved with its export: %s", d)
	}
	moved.Near = ""
	if d := moved.Difference(base); d != `-dsn is now "sqlite:/b/x.db", and was "sqlite:/a/x.db"` {
		t.Errorf("another database: %s", d)
	}
	other := base
	other.Tables = []Table{{Name: "t", Key: "id", Columns: "id,a", Query: "2"}}
	if d := other.Difference(base); d != `the query of t is now "2", and was "1"` {
		t.Errorf("another query: %s", d)
	}
}

func TestSupersede(t *testing.T) {
	before := Stale{"b", 1, "first", "", "", -1}
	old := Plan{ID: "second", Settings: Settings{Compress: "gzip"}, Finished: true,
		Parts: []Part{{File: "a.1of2", Size: 3}, {File: "a.2of2", Size: 4}, {File: "a"}}, Stale: []Stale{before, {"a", 0, "first", "", "", -1}}}
	p := Plan{Parts: []Part{{File: "a"}, {File: "a.1of3"}}}
	p.Supersede(old)
	if want := []Stale{before, {"a.1of2", 0, "second", "gzip", "", 3}, {"a.2of2", 1, "second", "gzip", "", 4}}; !slices.Equal(p.Stale, want) {
		t.Errorf("stale are %v, want %v", p.Stale, want)
	}
	old.Finished = false
	p.Stale = nil
	p.Supersede(old)
	if p.Stale[1].Size != -1 {
		t.Errorf("the size of a part that is not finished is taken for %d", p.Stale[1].Size)
	}
}
