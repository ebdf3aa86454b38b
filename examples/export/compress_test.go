package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A file of many members or frames is one file for those who read it, and a run with another
// compression does not get at it.
func TestCompressedInCommits(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newSQLite(t, append(keyed(1000), "CREATE TABLE empty (id INTEGER PRIMARY KEY)")...), t.TempDir()
	base := []string{"-dsn=" + dsn, "-table=t", "-commit=100", "-page=50"}
	want := undisturbed(t, append(base, "-out=o.csv"), []string{"o.csv"})[0]
	for out, program := range map[string]string{"o.csv.gz": "gzip", "o.csv.zst": "zstd", "o.csv.gzip": "gzip", "o.csv.zstd": "zstd"} {
		mustRun(t, dir, exitDone, "done: 1,000 rows", append(base, "-out="+out)...)
		mustRun(t, dir, exitDone, "done: 0 rows", "-dsn="+dsn, "-table=empty", "-out=empty-"+out, "-header=false")
		if _, err := exec.LookPath(program); err == nil {
			for file, want := range map[string]string{out: want, "empty-" + out: ""} {
				got, err := exec.Command("sh", "-c", program+" -dc <"+dir+"/"+file).Output()
				if err != nil {
					t.Errorf("%s: %v", file, err)
				}
				same(t, file, string(got), want)
			}
		}
	}
	same(t, "gzip", read(t, dir+"/o.csv.gz"), want)
	same(t, "zstd", read(t, dir+"/o.csv.zst"), want)
	if frames := strings.Count(rawFiles(t, dir, []string{"o.csv.zst"})[0], "\x28\xb5\x2f\xfd"); frames < 10 {
		t.Errorf("%d frames of 10 commits", frames)
	}
	folder := []string{"-dsn=" + dsn, "-table=t,empty", "-out=folder"}
	mustRun(t, dir, exitDone, "done", append(folder, "-compress=gzip")...)
	mustRun(t, dir, exitFailed, `-compress is now "zstd", and was "gzip"`, append(folder, "-compress=zstd")...)
}
