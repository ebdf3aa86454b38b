// Package examples_test checks what the README at the top says: its code is built, its
// program run, its commands and links looked up.
package examples_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = ".." // the folder of the README

// A block is a fenced part of the README.
type block struct {
	line       int
	kind, text string
}

func readme(t *testing.T) (text string, blocks []block) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(data), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{line: i + 1, kind: fence}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("README.md:%d: the block does not end", open.line)
	}
	return string(data), blocks
}

// module makes a module that uses this one, with no other dependencies than its own.
func module(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	root, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(mod), "module example.com/pipeline\n", "module readme\n", 1) +
		fmt.Sprintf("\nrequire example.com/pipeline v0.0.0\n\nreplace example.com/pipeline => %q\n", root)
	write(t, filepath.Join(folder, "go.mod"), own)
	write(t, filepath.Join(folder, "go.sum"), string(sum))
	return folder
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Every block of Go compiles. A program prints what the block of text behind it says,
// also when it is run once more; a test passes.
func TestCode(t *testing.T) {
	_, blocks := readme(t)
	folder := module(t)
	programs, tests := 0, 0
	for i, b := range blocks {
		if b.kind != "go" {
			continue
		}
		name := fmt.Sprintf("line%d", b.line)
		file, err := parser.ParseFile(token.NewFileSet(), "", b.text, 0)
		if err != nil {
			t.Errorf("README.md:%d: %v", b.line, err)
			continue
		}
		source := "readme.go"
		if strings.HasSuffix(file.Name.Name, "_test") {
			source = "readme_test.go"
		}
		write(t, filepath.Join(folder, name, source), b.text)
		run(t, folder, "go", "vet", "./"+name)
		switch {
		case source == "readme_test.go":
			run(t, folder, "go", "test", "./"+name)
			tests++
		case file.Name.Name == "main":
			if i+1 >= len(blocks) || blocks[i+1].kind != "text" {
				t.Fatalf("README.md:%d: no block of text behind the program says what it prints", b.line)
			}
			run(t, folder, "go", "build", "-o", name+"/", "./"+name)
			for range 2 {
				if got, want := run(t, filepath.Join(folder, name), "./"+name), blocks[i+1].text; got != want {
					t.Errorf("README.md:%d: the program prints %q, not %q", b.line, got, want)
				}
			}
			programs++
		}
	}
	if programs == 0 || tests == 0 {
		t.Errorf("%d programs and %d tests in README.md", programs, tests)
	}
}

var command = regexp.MustCompile("`((?:go|\\.ci/)[^`]*)`")

// Every command is there: its script, its folders, its package and its flags.
func TestCommands(t *testing.T) {
	text, blocks := readme(t)
	var lines []string
	for _, b := range blocks {
		if b.kind == "sh" {
			lines = append(lines, strings.Split(strings.TrimSpace(b.text), "\n")...)
		}
	}
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		if strings.HasPrefix(m[1], "go ") || strings.HasPrefix(m[1], ".ci/") {
			lines = append(lines, m[1])
		}
	}
	examples, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		if line := "go -C examples run ./" + filepath.Dir(e); !slices.Contains(lines, line) {
			t.Errorf("README.md does not have %q", line)
		}
	}
	for _, line := range lines {
		t.Run(line, func(t *testing.T) { checkCommand(t, line) })
	}
}

func checkCommand(t *testing.T, line string) {
	if loop, ok := strings.CutPrefix(line, "(for m in "); ok {
		modules, body, _ := strings.Cut(loop, "; do ")
		if want := "go -C $m test ./... || exit; done)"; body != want {
			t.Fatalf("the loop does %q, want %q", body, want)
		}
		for _, m := range strings.Fields(modules) {
			exists(t, m, "go.mod")
		}
		return
	}
	words := strings.Fields(line)
	folder := "."
	if len(words) > 2 && words[1] == "-C" {
		folder = words[2]
		words = slices.Delete(words, 1, 3)
	}
	exists(t, folder)
	switch {
	case len(words) == 1:
		exists(t, words[0])
	case words[0] == "go" && words[1] == "test":
		if words[len(words)-1] != "./..." {
			t.Errorf("the command tests %s", words[len(words)-1])
		}
	case words[0] == "go" && words[1] == "run" && len(words) > 2:
		checkProgram(t, filepath.Join(folder, words[2]), words[3:])
	default:
		t.Error("this test does not know such a command")
	}
}

// checkProgram looks for a main package and for the flags in it.
func checkProgram(t *testing.T, folder string, args []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source += string(data)
	}
	if !strings.Contains(source, "\nfunc main() {") {
		t.Errorf("%s is no program", folder)
	}
	for _, a := range args {
		if name, ok := strings.CutPrefix(a, "-"); ok && !strings.Contains(source, `"`+name+`"`) {
			t.Errorf("%s has no flag %s", folder, a)
		}
	}
}

func exists(t *testing.T, path ...string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(append([]string{top}, path...)...)); err != nil {
		t.Error(err)
	}
}

var link = regexp.MustCompile(`\[([^]]*)\]\(([^)#]*)[^)]*\)`)
var nameOfLink = regexp.MustCompile(`^(?:(?:seq|control|batch|cursor|sqlstore)\.[A-Z][\w.]*|Example\w*)$`)

// Every link leads to a file, and one that is named after a function or a type to the
// file that declares it.
func TestLinks(t *testing.T) {
	text, blocks := readme(t)
	for _, b := range blocks {
		text = strings.ReplaceAll(text, b.text, "")
	}
	names := 0
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		name, target := m[1], m[2]
		if target == "" || strings.HasPrefix(target, "https://") {
			continue
		}
		exists(t, target)
		if nameOfLink.MatchString(name) {
			names++
			if !slices.Contains(declared(t, target), name) {
				t.Errorf("%s does not declare %s", target, name)
			}
		}
	}
	if names < 50 {
		t.Errorf("only %d links to a declaration", names)
	}
}

// declared lists what a file declares at its top: examples by name, everything else with its
// package.
func declared(t *testing.T, path string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, path), nil, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if strings.HasPrefix(name, "Example") {
				names = append(names, name)
				continue
			}
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names = append(names, file.Name.Name+"."+name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					names = append(names, file.Name.Name+"."+s.Name.Name)
				}
			}
		}
	}
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
