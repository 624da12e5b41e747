package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of rule sizes.
const (
	fileLinesMax     = 800
	functionLinesMax = 70
)

// clockFolders may read the machine's time themselves.
var clockFolders = []string{"internal/clock", "cmd", "test", "bench", "examples", "tools"}

// bannedTime are the functions of package time that only a Clock may call.
var bannedTime = []string{"Now", "Sleep", "After", "Since", "Until", "NewTimer", "NewTicker", "Tick", "AfterFunc"}

// unfinished finds the words of work left for later.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// Sources checks the files of the packages: one package comment, sizes,
// unfinished work, init functions, the machine's clock, tests that sleep.
// longFunctions lists functions ("path.Name") that may be longer than the
// limit: it may only shrink.
func Sources(packages []Package, longFunctions map[string]int) []Finding {
	var out []Finding
	used := make(map[string]bool)
	for _, p := range packages {
		if under(p.Path, "proto") {
			continue
		}
		docs := 0
		for i, name := range slices.Concat(p.GoFiles, p.OtherFiles) {
			f := &fileCheck{pkg: p, name: name, long: longFunctions, used: used}
			if n := f.run(); i < len(p.GoFiles) {
				docs += n
			}
			out = append(out, f.findings...)
		}
		if docs != 1 && len(p.GoFiles) > 0 {
			out = append(out, Finding{"doc", p.Path, fmt.Sprintf("has %d package comments, want exactly one", docs)})
		}
	}
	for name := range longFunctions {
		if !used[name] {
			out = append(out, Finding{"function size", name, "is within the limit or gone: remove it from the ratchet list"})
		}
	}
	return out
}

type fileCheck struct {
	pkg      Package
	name     string
	long     map[string]int
	used     map[string]bool
	sleeps   bool // the file has tests in which time is synthetic
	findings []Finding
}

func (c *fileCheck) add(rule, where, why string) {
	c.findings = append(c.findings, Finding{rule, where, why})
}

// run returns the number of package comments in the file.
func (c *fileCheck) run() int {
	path := filepath.Join(c.pkg.Dir, c.name)
	where := filepath.Join(c.pkg.Path, c.name)
	src, err := os.ReadFile(path)
	if err != nil {
		c.add("read", where, err.Error())
		return 0
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		c.add("parse", where, err.Error())
		return 0
	}
	docs := 0
	if f.Doc != nil && strings.HasPrefix(f.Doc.Text(), "Package ") || c.pkg.Name == "main" && f.Doc != nil {
		docs = 1
	}
	if ast.IsGenerated(f) {
		return docs
	}
	if n := strings.Count(string(src), "\n"); n > fileLinesMax {
		c.add("file size", where, fmt.Sprintf("%d lines, limit %d: split by concept", n, fileLinesMax))
	}
	for i, line := range strings.Split(string(src), "\n") {
		if unfinished.MatchString(line) && !under(c.pkg.Path, "internal/arch") {
			c.add("unfinished", fmt.Sprintf("%s:%d", where, i+1), "unfinished work is written down where work is tracked")
		}
	}
	c.sleeps = importsPackage(f, "testing/synctest")
	ast.Inspect(f, func(n ast.Node) bool { c.node(fset, where, n); return true })
	return docs
}

func importsPackage(f *ast.File, path string) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

func (c *fileCheck) isTest() bool { return strings.HasSuffix(c.name, "_test.go") }

func (c *fileCheck) node(fset *token.FileSet, where string, n ast.Node) {
	switch n := n.(type) {
	case *ast.FuncDecl:
		c.function(fset, where, n)
	case *ast.SelectorExpr:
		if c.isTest() {
			c.sleep(fset, where, n)
			return
		}
		id, ok := n.X.(*ast.Ident)
		if !ok || id.Name != "time" || id.Obj != nil || !slices.Contains(bannedTime, n.Sel.Name) || underAny(c.pkg.Path, clockFolders) {
			return
		}
		c.add("clock", fmt.Sprintf("%s:%d", where, fset.Position(n.Pos()).Line), "time."+n.Sel.Name+": take a clock.Clock")
	}
}

// sleep finds what makes a test slow or shaky: real time that passes. In a
// bubble of synctest it does not pass.
func (c *fileCheck) sleep(fset *token.FileSet, where string, n *ast.SelectorExpr) {
	if n.Sel.Name != "Sleep" || c.sleeps {
		return
	}
	real := false
	switch x := n.X.(type) {
	case *ast.Ident:
		real = x.Name == "time" && x.Obj == nil
	case *ast.CompositeLit:
		sel, ok := x.Type.(*ast.SelectorExpr)
		real = ok && sel.Sel.Name == "Real"
	}
	if real {
		c.add("sleep", fmt.Sprintf("%s:%d", where, fset.Position(n.Pos()).Line),
			"a test that sleeps is slow and shaky: wait for what is to happen, or use testing/synctest")
	}
}

func (c *fileCheck) function(fset *token.FileSet, where string, f *ast.FuncDecl) {
	if f.Name.Name == "init" && f.Recv == nil {
		c.add("init", where, "no init functions: construct values where they are used")
	}
	if f.Body == nil {
		return
	}
	lines := fset.Position(f.Body.Rbrace).Line - fset.Position(f.Pos()).Line + 1
	if lines <= functionLinesMax {
		return
	}
	key := c.pkg.Path + "." + f.Name.Name
	if limit, listed := c.long[key]; listed {
		c.used[key] = true
		if lines <= limit {
			return
		}
	}
	c.add("function size", fmt.Sprintf("%s: %s", where, key), fmt.Sprintf("%d lines, limit %d", lines, functionLinesMax))
}
