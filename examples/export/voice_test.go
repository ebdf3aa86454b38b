package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
)

// With -log json each line that is printed is an object: to standard output, and, of a run
// that ends early, to standard error.
func TestLogJSON(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	objects := func(text string) (all []map[string]any, names string) {
		t.Helper()
		for line := range strings.Lines(text) {
			var o map[string]any
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatalf("%q is no JSON: %v", line, err)
			}
			if o["time"] == nil || o["msg"] == "" || o["level"] == nil {
				t.Errorf("a line without its fields: %s", line)
			}
			all, names = append(all, o), names+" "+o["event"].(string)
		}
		return all, names
	}
	dsn, dir := newSQLite(t, append(keyed(3000), "CREATE TABLE none (a)", "INSERT INTO none VALUES (1)")...), t.TempDir()
	args := []string{"-dsn=" + dsn, "-table=t,none", "-out=folder", "-log=json", "-verify", "-manifest"}
	p := start(t, `"event":"progress"`, dir, append(args, "-rate=300")...)
	if code := p.end(syscall.SIGTERM); code != exitInterrupted {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	ends, names := objects(p.stderr.String())
	if names != " stopping interrupted" || !strings.Contains(ends[1]["command"].(string), "-log=json") || ends[1]["level"] != "ERROR" {
		t.Errorf("when it is interrupted it says %s", p.stderr)
	}
	r := mustRun(t, dir, exitDone, "", args...)
	all, names := objects(r.stdout)
	if names != " note resume file file done note verified note verified manifest" {
		t.Errorf("it says%s", names)
	}
	for _, o := range all {
		if o["event"] == "done" && (o["rows"] != 3001.0 || o["bytes"] == nil) || o["event"] == "resume" && o["rows"].(float64) < 1 ||
			o["event"] == "file" && (o["table"] == nil || o["rows"] == nil) || o["event"] == "verified" && len(o["checksum"].(string)) != 32 {
			t.Errorf("it says %v", o)
		}
	}
	_, names = objects(mustRun(t, dir, exitDone, "nothing to do", args[:4]...).stdout)
	if names != " note complete" {
		t.Errorf("of a complete export it says%s", names)
	}
	r = runIn(t, dir, "-dsn="+dsn, "-table=nosuch", "-log=json")
	if all, names = objects(r.stderr); names != " failed" || !strings.Contains(all[0]["error"].(string), "nosuch") {
		t.Errorf("an error is %s", r.stderr)
	}
	r = runIn(t, dir, "-dsn="+dsn, "-table=t", "-log=json", "-out=-")
	if _, names = objects(r.stderr); names != " begin done" {
		t.Errorf("beside a pipe it says %s", r.stderr)
	}
}
