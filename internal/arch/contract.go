package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
)

// Contracts checks that every exported name of the packages, with the fields
// and methods of exported types, has a comment that says more than the name.
// The comment of a group, or of a field before it that names it, counts.
func Contracts(packages []Package, public []string) []Finding {
	var out []Finding
	for _, p := range packages {
		if !contains(public, p.Path) {
			continue
		}
		c := &contractCheck{pkg: p, fset: token.NewFileSet()}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				out = append(out, Finding{"contract", filepath.Join(p.Path, name), err.Error()})
				continue
			}
			for _, d := range f.Decls {
				c.declaration(d)
			}
		}
		out = append(out, c.findings...)
	}
	return out
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

type contractCheck struct {
	pkg      Package
	fset     *token.FileSet
	findings []Finding
}

// wordsMin is the least number of words that say more than a name.
const wordsMin = 3

var word = regexp.MustCompile(`[\p{L}\p{N}]+`)

// want finds a name without a comment. More comments than one may say it.
func (c *contractCheck) want(at token.Pos, name string, comments ...*ast.CommentGroup) {
	for _, g := range comments {
		if g != nil && len(word.FindAllString(g.Text(), -1)) >= wordsMin {
			return
		}
	}
	pos := c.fset.Position(at)
	c.findings = append(c.findings, Finding{"contract", fmt.Sprintf("%s/%s:%d: %s", c.pkg.Path, filepath.Base(pos.Filename), pos.Line, name), "has no comment that says more than the name"})
}

func (c *contractCheck) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) {
			c.want(d.Pos(), d.Name.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					c.want(s.Pos(), s.Name.Name, s.Doc, d.Doc)
					c.members(s)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() {
					c.want(s.Pos(), s.Names[0].Name, s.Doc, s.Comment, d.Doc)
				}
			}
		}
	}
}

// members checks the fields of a struct and the methods of an interface.
func (c *contractCheck) members(s *ast.TypeSpec) {
	var fields *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return
	}
	var said []string // the words of the comment of the fields since an empty line
	end := token.NoPos
	for _, f := range fields.List {
		begin := f.Pos()
		if f.Doc != nil {
			begin = f.Doc.Pos()
		}
		if end.IsValid() && c.fset.Position(begin).Line > c.fset.Position(end).Line+1 {
			said = nil
		}
		if end = f.End(); f.Doc != nil {
			said = word.FindAllString(f.Doc.Text(), -1)
		}
		for _, name := range f.Names {
			if name.IsExported() && !contains(said, name.Name) {
				c.want(name.Pos(), s.Name.Name+"."+name.Name, f.Doc, f.Comment)
			}
		}
	}
}
