package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Typer checks the types of test files against what the compiler exported of
// the packages that they import.
type Typer struct {
	module  string
	fset    *token.FileSet
	gc      types.Importer
	dirs    map[string]Package // by import path
	doing   map[string]bool    // methods that implement an interface, by entry name
	docRead map[string]bool    // packages whose comments were read
}

// NewTyper builds the packages of the module in dir, and what their tests
// import, for that.
func NewTyper(dir string, packages []Package) (*Typer, error) {
	t := &Typer{fset: token.NewFileSet(), dirs: make(map[string]Package), doing: make(map[string]bool), docRead: make(map[string]bool)}
	exports, module, err := exportFiles(dir, packages)
	if err != nil {
		return nil, err
	}
	t.module = module
	for _, p := range packages {
		t.dirs[module+"/"+p.Path] = p
	}
	t.gc = importer.ForCompiler(t.fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
	return t, nil
}

// exportFiles builds the packages and what their test files import, and
// returns the files that hold what each exports.
func exportFiles(dir string, packages []Package) (exports map[string]string, module string, err error) {
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export,Module", "./..."}
	imports := make(map[string]bool)
	for _, p := range packages {
		for _, name := range p.OtherFiles {
			if !strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
			if err != nil {
				return nil, "", err
			}
			for _, i := range f.Imports {
				if path := strings.Trim(i.Path.Value, `"`); path != "C" && !imports[path] {
					imports[path] = true
					args = append(args, path)
				}
			}
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, "", fmt.Errorf("go list -export: %w: %s", err, exit.Stderr)
		}
		return nil, "", err
	}
	exports = make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export string
			Module             struct {
				Path string
				Main bool
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports, module, nil
		} else if err != nil {
			return nil, "", err
		}
		if exports[p.ImportPath] = p.Export; p.Module.Main {
			module = p.Module.Path
		}
	}
}

// unit is a set of files of one package that are checked together.
type unit struct {
	typer *Typer
	path  string
	fset  *token.FileSet
	// files are those that are looked at, with are those of the same package.
	files, with []*ast.File
	info        *types.Info
}

// testUnits returns the test files of a package: those in it and those beside.
func (t *Typer) testUnits(p Package) []*unit {
	inside := &unit{typer: t, path: p.Path, fset: t.fset}
	beside := &unit{typer: t, path: p.Path + "_test", fset: t.fset}
	for _, name := range p.OtherFiles {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		f := t.parse(p, name)
		if f == nil {
			continue
		}
		if strings.HasSuffix(f.Name.Name, "_test") {
			beside.files = append(beside.files, f)
		} else {
			inside.files = append(inside.files, f)
		}
	}
	if len(inside.files) > 0 {
		for _, name := range p.GoFiles {
			inside.with = append(inside.with, t.parse(p, name))
		}
	}
	return slices.DeleteFunc([]*unit{inside, beside}, func(u *unit) bool { return len(u.files) == 0 })
}

// program returns the files of a package that are not tests.
func (t *Typer) program(p Package) *unit {
	u := &unit{typer: t, path: p.Path, fset: t.fset}
	for _, name := range p.GoFiles {
		if f := t.parse(p, name); f != nil {
			u.files = append(u.files, f)
		}
	}
	return u
}

// parse returns nil for a file of another build.
func (t *Typer) parse(p Package, name string) *ast.File {
	f, err := parser.ParseFile(t.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
		return c.Pos() < f.Package && strings.HasPrefix(c.List[0].Text, "//go:build")
	}) {
		return nil
	}
	return f
}

// check fills info. What a test file declares in the package under test for
// the files beside it is unknown to those: such names are let be.
func (u *unit) check() error {
	u.info = &types.Info{
		Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object),
		Instances: make(map[*ast.Ident]types.Instance),
	}
	faults := 0
	var first error
	conf := types.Config{Importer: u.typer.gc, Error: func(err error) {
		if faults++; first == nil {
			first = err
		}
	}}
	// The error is the first of those that conf.Error was given.
	_, _ = conf.Check(u.typer.module+"/"+u.path, u.fset, slices.Concat(u.files, u.with), u.info)
	if faults > 0 {
		return fmt.Errorf("%s: %d faults, first: %w", u.path, faults, first)
	}
	return nil
}

// library returns a package by what the compiler exported of it, and the
// methods of it that say that they implement an interface.
func (t *Typer) library(path string) (*types.Package, map[string]bool, error) {
	pkg, err := t.gc.Import(t.module + "/" + path)
	return pkg, t.doing, err
}

// doingDoc is how a method says that its caller is whoever has the interface.
var doingDoc = regexp.MustCompile(`^\w+ implements `)

// implements says whether the comment of a method says so.
func (t *Typer) implements(f types.Object) bool {
	path := f.Pkg().Path()
	if !t.docRead[path] {
		t.docRead[path] = true
		p := t.dirs[path]
		for _, name := range p.GoFiles {
			file := t.parse(p, name)
			if file == nil {
				continue
			}
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && doingDoc.MatchString(fn.Doc.Text()) {
					t.doing[p.Name+"."+receiver(fn.Recv.List[0].Type)+"."+fn.Name.Name] = true
				}
			}
		}
	}
	return t.doing[entryName(f)]
}

func receiver(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	}
	return ""
}
