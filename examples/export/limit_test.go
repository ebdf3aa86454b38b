package main

import (
	"strings"
	"testing"
)

// lines returns the first lines of a text.
func lines(text string, n int) string {
	return strings.Join(strings.SplitAfterN(text, "\n", n+1)[:n], "")
}

// -limit N writes the first N rows and the file ends there, also of a run that went on.
func TestLimit(t *testing.T) {
	t.Parallel()
	useBuilt(t)
	dsn, dir := newSQLite(t, keyed(3000)...), t.TempDir()
	base := []string{"-dsn=" + dsn, "-table=t"}
	all := undisturbed(t, append(base, "-out=o.csv"), []string{"o.csv"})[0]
	for _, test := range []struct{ limit, says string }{
		{"1", "done: 1 row,"}, {"999", "done: 999 rows"}, {"1000", "done: 1,000 rows"}, {"1001", "done: 1,001 rows"},
		{"3000", "done: 3,000 rows"}, {"9000", "done: 3,000 rows"},
	} {
		dir := t.TempDir()
		mustRun(t, dir, exitDone, test.says, append(base, "-out=o.csv", "-limit="+test.limit)...)
		got := read(t, dir+"/o.csv")
		same(t, "-limit="+test.limit, got, lines(all, strings.Count(got, "\n")))
		mustRun(t, dir, exitDone, "nothing to do", append(base, "-out=o.csv", "-limit="+test.limit)...)
		mustRun(t, dir, exitFailed, "-limit is now 2, and was "+test.limit, append(base, "-out=o.csv", "-limit=2")...)
	}
	r := mustRun(t, dir, exitDone, "", append(base, "-out=-", "-limit=7", "-quiet")...)
	same(t, "through a pipe", r.stdout, lines(all, 8))
	mustRun(t, dir, exitDone, "done: 5 rows", "-dsn="+dsn, "-query=SELECT a FROM t", "-out=q.csv", "-limit=5") // in no order

	killAtRandom(t, 6, append(base, "-out=o.csv", "-limit=2345", "-commit=50", "-page=20"), []string{"o.csv"})
}
