package seq_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "example.com/pipeline"

// siblings says which packages of the module each package may import. It is a
// statement of policy:
//
//   - seq is the contract. It knows no sibling, so that a user who wants nothing but
//     streams compiles nothing else.
//   - control, batch and cursor build on seq and not on each other: where two of them
//     meet, they meet in the user's code, in a stream or in a func value.
//   - cursor is all that is not SQL. keyset reads SQL databases and builds on it; what both
//     need of paging is internal, and what the packages of SQL need of errors.
//   - The SQL store is a checkpoint store and a store of idempotency keys, and so the
//     one place that knows cursor and control.
//   - Checks for users' own stages and stores know what they check, and no more.
var siblings = map[string][]string{
	"seq":                      nil,
	"seq/seqtest":              {"seq"},
	"control":                  {"seq"},
	"batch":                    {"seq"},
	"cursor":                   {"seq", "cursor/internal/fsys", "cursor/internal/paging"},
	"cursor/internal/fsys":     nil,
	"cursor/internal/paging":   {"seq"},
	"cursor/internal/sqlerr":   nil,
	"cursor/cursortest":        {"cursor", "seq"},
	"cursor/keyset":            {"cursor", "cursor/internal/paging", "cursor/internal/sqlerr", "seq"},
	"cursor/keyset/keysettest": {"cursor", "cursor/keyset"},
	"cursor/sqlstore":          {"cursor", "cursor/internal/sqlerr", "cursor/keyset", "control", "seq"},
}

// outside are the modules that a package may import from, beside the standard
// library. Drivers and peers live in modules of their own, so that none of them ever
// enters a user's go.sum.
var outside = []string{"golang.org/x/time/", "golang.org/x/sync/", "github.com/google/go-cmp/"}

func TestImportsFollowThePolicy(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{range .Imports}} {{.}}{{end}}`, "./...")
	list.Dir = filepath.Join("..")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(line, ":")
		pkg := strings.TrimPrefix(path, module+"/")
		allowed, known := siblings[pkg]
		if !known {
			t.Errorf("package %s is not in the policy: say what it may import, and why", pkg)
			continue
		}
		seen++
		for _, imp := range strings.Fields(imports) {
			first, _, _ := strings.Cut(imp, "/")
			sibling, ours := strings.CutPrefix(imp, module+"/")
			switch {
			case ours && slices.Contains(allowed, sibling):
			case ours:
				t.Errorf("%s imports its sibling %s, which the policy does not allow", pkg, sibling)
			case strings.Contains(first, ".") && !slices.ContainsFunc(outside, func(m string) bool { return strings.HasPrefix(imp, m) }):
				t.Errorf("%s imports %s: the library has no such dependency", pkg, imp)
			}
		}
	}
	if seen < 4 {
		t.Errorf("the policy was checked on %d packages; go list printed:\n%s", seen, out)
	}
}

func TestTheModuleRequiresNothingElse(t *testing.T) {
	list := exec.Command("go", "list", "-m", "-f", `{{if not (or .Main .Indirect)}}{{.Path}}{{end}}`, "all")
	list.Dir = filepath.Join("..")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		switch path {
		case "golang.org/x/time", "golang.org/x/sync", "github.com/google/go-cmp":
		default:
			t.Errorf("the module requires %s: drivers and peers belong into modules of their own", path)
		}
	}
}
