package examples_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Go leaves open whether a statement that names a variable and calls what changes it,
// such as
//
//	return p, g.Wait()
//
// where the group's functions fill p, takes the variable as it was before or after the
// call. There is no such statement in the code, nor in the README.
func TestOrderOfEvaluation(t *testing.T) {
	looked := 0
	check := func(file, source string) {
		looked++
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, source, 0)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			return
		}
		for _, f := range openOrder(parsed) {
			at := set.Position(f.at)
			t.Errorf("%s:%d: %s is read, and changed by a call in the same statement: make it two", at.Filename, at.Line, f.name)
		}
	}
	_, blocks := readme(t)
	for _, b := range blocks {
		if b.kind == "go" {
			check("README.md", strings.Repeat("\n", b.line)+b.text)
		}
	}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		check(path, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 300 {
		t.Errorf("only %d sources", looked)
	}
}

// The check finds what it is for.
func TestOpenOrder(t *testing.T) {
	for body, want := range map[string]string{
		`var p int; g.Go(func() { p = 1 }); return p, g.Wait()`:                        "p",
		`var p struct{ a int }; g.Go(func() { p.a++ }); return p, g.Wait()`:            "p",
		`var p struct{ a int }; return p.a, json.Unmarshal(b, &p)`:                     "p",
		`var n int; fmt.Println(drain(func() { n++ }), n)`:                             "n",
		`var n int; return n + count(&n)`:                                              "n",
		`var n int; return pair{n, count(&n)}`:                                         "n",
		`var n int; a, b := n, count(&n); return a, b`:                                 "n",
		`var p int; g.Go(func() { p = 1 }); err := g.Wait(); return p, err`:            "",
		`defer func() { err = errors.Join(err, f.Close()) }(); return f.Name(), err`:   "",
		`var n int; return n, count(func() { n := 1; n++ })`:                           "",
		`var n int; each(func() { n++ }); return fmt.Sprint(n), errors.New("so many")`: "",
		`g.Go(func() { s.err = errors.Join(s.err, s.start()) }); return nil`:           "",
		`var p int; return count(p, len(b)), json.Unmarshal(b, &q)`:                    "",
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() (any, any) {"+body+"}", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range openOrder(parsed) {
			got = f.name
		}
		if got != want {
			t.Errorf("%s: found %q, want %q", body, got, want)
		}
	}
}

type finding struct {
	at   token.Pos
	name string
}

// openOrder looks for operands of one statement that are a variable and a call which is
// given its address, or a function that assigns to it. In what is returned or printed it
// looks as well for calls beside a variable that a function literal elsewhere assigns
// to: the call may run it. (Everywhere would be too much: most calls run none.)
func openOrder(file *ast.File) (found []finding) {
	for _, decl := range file.Decls {
		if _, ok := decl.(*ast.FuncDecl); !ok {
			continue
		}
		literals := literalsIn(decl)
		ast.Inspect(decl, func(n ast.Node) bool {
			operands := operandsOf(n)
			for i, o := range operands {
				name, elsewhere := variable(o), literals
				if name == "" {
					continue
				}
				if !returnsOrPrints(n) {
					elsewhere = nil
				}
				for j, other := range operands {
					if i != j && callChanges(other, name, elsewhere) {
						found = append(found, finding{n.Pos(), name})
					}
				}
			}
			return true
		})
	}
	return found
}

func operandsOf(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.ReturnStmt:
		return n.Results
	case *ast.CallExpr:
		return n.Args
	case *ast.CompositeLit:
		return n.Elts
	case *ast.AssignStmt:
		return n.Rhs
	case *ast.BinaryExpr:
		if n.Op != token.LAND && n.Op != token.LOR { // these have an order
			return []ast.Expr{n.X, n.Y}
		}
	}
	return nil
}

func returnsOrPrints(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ReturnStmt:
		return true
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		return ok && strings.HasPrefix(f.Sel.Name, "Print")
	}
	return false
}

// variable is the name of the variable that an operand reads: x of x, x.f and key: x.
func variable(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return variable(e.X)
	case *ast.KeyValueExpr:
		return variable(e.Value)
	}
	return ""
}

// literalsIn lists the function literals, but for those that are deferred: they run when
// all is evaluated.
func literalsIn(decl ast.Decl) (literals []*ast.FuncLit) {
	deferred := map[ast.Expr]bool{}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt:
			deferred[n.Call.Fun] = true
		case *ast.FuncLit:
			if !deferred[n] {
				literals = append(literals, n)
			}
		}
		return true
	})
	return literals
}

// callChanges reports whether a call in e may change the variable.
func callChanges(e ast.Expr, name string, literals []*ast.FuncLit) (changes bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		for _, arg := range call.Args {
			switch arg := arg.(type) {
			case *ast.UnaryExpr:
				changes = changes || arg.Op == token.AND && variable(arg.X) == name
			case *ast.FuncLit:
				changes = changes || assigns(arg, name)
			}
		}
		if runsNothing(call) {
			return true
		}
		for _, l := range literals {
			own := l.Pos() <= e.Pos() && e.End() <= l.End() // it does not run beside itself
			changes = changes || !own && assigns(l, name)
		}
		return true
	})
	return changes
}

// runsNothing reports whether a call is known to run no function of the program's.
func runsNothing(call *ast.CallExpr) bool {
	switch fun := call.Fun.(type) {
	case *ast.SelectorExpr:
		switch variable(fun.X) {
		case "errors", "fmt", "strings", "strconv", "time", "filepath", "os", "atomic", "math":
			return true
		}
		switch fun.Sel.Name {
		case "Load", "Add", "Error", "Err", "String": // of atomics, errors, contexts and texts
			return true
		}
	case *ast.Ident:
		switch fun.Name {
		case "len", "cap", "make", "new", "append", "min", "max", "string", "int", "int64", "float64":
			return true
		}
	case *ast.ArrayType:
		return true
	}
	return false
}

// assigns reports whether a function literal assigns to a variable from around it.
func assigns(l *ast.FuncLit, name string) (does bool) {
	own := false
	for _, f := range append(l.Type.Params.List, results(l)...) {
		for _, id := range f.Names {
			own = own || id.Name == name
		}
	}
	ast.Inspect(l.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, to := range n.Lhs {
				if id, ok := to.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own = own || id.Name == name
				} else if variable(to) == name {
					does = true
				}
			}
		case *ast.IncDecStmt:
			does = does || variable(n.X) == name
		case *ast.ValueSpec:
			for _, id := range n.Names {
				own = own || id.Name == name
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own = own || id.Name == name
				}
			}
		}
		return true
	})
	return does && !own
}

func results(l *ast.FuncLit) []*ast.Field {
	if l.Type.Results == nil {
		return nil
	}
	return l.Type.Results.List
}
