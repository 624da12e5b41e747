package arch

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// Manual is what `go doc` shows of the packages that users import: their
// entry points, and the examples that are run.
type Manual struct {
	// Entries are the functions and methods that users call, and the constants
	// and variables that they name, in the form of entryName.
	Entries map[string]bool
	// Shown are those of any package that an example with an output uses.
	Shown map[string]bool
}

// NewManual looks through the packages. public are those that users import.
func NewManual(t *Typer, packages []Package, public []string) (*Manual, error) {
	m := &Manual{Entries: make(map[string]bool), Shown: make(map[string]bool)}
	for _, path := range public {
		if err := t.entries(path, m.Entries); err != nil {
			return nil, err
		}
	}
	for _, p := range packages {
		for _, u := range t.testUnits(p) {
			if err := u.shown(m.Shown); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// Unshown returns the entry points that no example shows and that exempt does
// not name, and what exempt names in vain. exempt has names of entries, or of
// types with all their methods, and why.
func (m *Manual) Unshown(exempt map[string]string) []Finding {
	var out []Finding
	used := make(map[string]bool)
	for _, e := range slices.Sorted(maps.Keys(m.Entries)) {
		if m.Shown[e] {
			continue
		}
		if _, ok := exempt[e]; ok {
			used[e] = true
			continue
		}
		if of, _, ok := cutLast(e, "."); ok && exempt[of] != "" {
			used[of] = true
			continue
		}
		out = append(out, Finding{"example", e, "no example with an output shows it"})
	}
	for e := range exempt {
		if !used[e] {
			out = append(out, Finding{"example", e, "is shown or gone: remove it from the list of exemptions"})
		}
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// entryName is "stream.Map" or "stream.DataStream.Filter": the name of the
// package and not its path, because names are unique.
func entryName(o types.Object) string {
	if o.Pkg() == nil {
		return o.Name()
	}
	if f, ok := o.(*types.Func); ok {
		f = f.Origin()
		if recv := f.Signature().Recv(); recv != nil {
			if n := namedOf(recv.Type()); n != nil {
				return n.Obj().Pkg().Name() + "." + n.Obj().Name() + "." + f.Name()
			}
		}
	}
	return o.Pkg().Name() + "." + o.Name()
}

func namedOf(t types.Type) *types.Named {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	n, _ := types.Unalias(t).(*types.Named)
	return n
}

// entries adds the entry points of a package: its functions, constants and
// variables, and the methods of its types but for those that say that they
// implement an interface, which are called by whoever asks for that.
func (t *Typer) entries(path string, into map[string]bool) error {
	pkg, docs, err := t.library(path)
	if err != nil {
		return err
	}
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		o := scope.Lookup(name)
		if !o.Exported() {
			continue
		}
		if tn, isType := o.(*types.TypeName); isType {
			t.methods(tn, into)
			continue
		}
		into[entryName(o)] = true
	}
	maps.DeleteFunc(into, func(e string, _ bool) bool { return docs[e] })
	return nil
}

// methods adds those of a struct or a pointer to it, promoted ones and those
// of the type that an alias stands for included.
func (t *Typer) methods(tn *types.TypeName, into map[string]bool) {
	n := namedOf(types.Unalias(tn.Type()))
	if n == nil || types.IsInterface(n) || n.Obj().Pkg() == nil {
		return
	}
	if _, isFunc := n.Underlying().(*types.Signature); isFunc {
		return // an option: it is made by its constructors, and the engine calls it
	}
	set := types.NewMethodSet(types.NewPointer(n.Origin()))
	for i := range set.Len() {
		f := set.At(i).Obj()
		if f.Exported() && strings.HasPrefix(f.Pkg().Path(), t.module) && !t.implements(f) {
			into[entryName(f)] = true
		}
	}
}

// shown adds what the examples of the unit that have an output use, in
// themselves or in what they use of the unit.
func (u *unit) shown(into map[string]bool) error {
	if len(u.examples()) == 0 {
		return nil
	}
	if err := u.check(); err != nil {
		return err
	}
	u.reach(func(id *ast.Ident, o types.Object) { into[entryName(o)] = true })
	return nil
}

// reach calls use for each name that the examples with an output use, in
// themselves or in what they use of the unit, and returns what was looked at.
func (u *unit) reach(use func(*ast.Ident, types.Object)) (nodes []ast.Node) {
	decls := u.declarations()
	seen := make(map[types.Object]bool)
	var visit func(n ast.Node)
	visit = func(n ast.Node) {
		nodes = append(nodes, n)
		ast.Inspect(n, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			o := u.info.Uses[id]
			if o == nil || seen[o] {
				return true
			}
			seen[o] = true
			use(id, o)
			for _, d := range decls[o] {
				visit(d)
			}
			return true
		})
	}
	for _, r := range u.examples() {
		visit(r)
	}
	return nodes
}

// examples returns the bodies of the examples with an output.
func (u *unit) examples() (out []ast.Node) {
	runs := make(map[string]bool)
	for _, e := range doc.Examples(u.files...) {
		if strings.TrimSpace(e.Output) != "" {
			runs["Example"+e.Name] = true
		}
	}
	for _, f := range u.files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && runs[fn.Name.Name] {
				out = append(out, fn.Body)
			}
		}
	}
	return out
}

// declarations maps what the unit's test files declare to where it is
// declared: a type also to its methods.
func (u *unit) declarations() map[types.Object][]ast.Node {
	out := make(map[types.Object][]ast.Node)
	add := func(id *ast.Ident, n ast.Node) {
		if o := u.info.Defs[id]; o != nil {
			out[o] = append(out[o], n)
		}
	}
	for _, f := range u.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				add(d.Name, d)
				if fn, ok := u.info.Defs[d.Name].(*types.Func); ok && d.Recv != nil {
					if n := namedOf(fn.Signature().Recv().Type()); n != nil {
						o := n.Origin().Obj()
						out[o] = append(out[o], d)
					}
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						add(s.Name, s)
					case *ast.ValueSpec:
						for _, name := range s.Names {
							add(name, s)
						}
					}
				}
			}
		}
	}
	return out
}

// TypeArguments returns where examples call or hand on a function with type
// arguments in brackets, which inference would spare: in the packages below
// examples, and elsewhere in what examples with an output use. Literals and
// declarations name their types as any do; those are not meant. allowed are
// functions whose meaning is to name a type, by their entry names, and why.
func TypeArguments(t *Typer, packages []Package, allowed map[string]string) ([]Finding, error) {
	var out []Finding
	used := make(map[string]bool)
	for _, p := range packages {
		units, all := t.testUnits(p), under(p.Path, "examples")
		if all {
			units = append(units, t.program(p))
		}
		for _, u := range units {
			if !all && len(u.examples()) == 0 {
				continue
			}
			if err := u.check(); err != nil {
				return nil, err
			}
			for _, at := range u.instances(all) {
				if _, ok := allowed[at.name]; ok {
					used[at.name] = true
					continue
				}
				out = append(out, Finding{"type argument", fmt.Sprintf("%s: %s", at.pos, at.name), "is not inferred: change the function so that an argument says it"})
			}
		}
	}
	for name := range allowed {
		if !used[name] {
			out = append(out, Finding{"type argument", name, "no example names it: remove it from the list"})
		}
	}
	return out, nil
}

type instance struct {
	name string
	pos  token.Position
}

// instances returns the functions with type arguments in brackets, of all
// files or of what the examples reach.
func (u *unit) instances(all bool) (out []instance) {
	var nodes []ast.Node
	if all {
		for _, f := range u.files {
			nodes = append(nodes, f)
		}
	} else {
		nodes = u.reach(func(*ast.Ident, types.Object) {})
	}
	for _, n := range nodes {
		ast.Inspect(n, func(n ast.Node) bool {
			var of ast.Expr
			switch x := n.(type) {
			case *ast.IndexExpr:
				of = x.X
			case *ast.IndexListExpr:
				of = x.X
			default:
				return true
			}
			if sel, ok := of.(*ast.SelectorExpr); ok {
				of = sel.Sel
			}
			id, ok := of.(*ast.Ident)
			if !ok {
				return true
			}
			if fn, isFunc := u.info.Uses[id].(*types.Func); isFunc {
				out = append(out, instance{entryName(fn), u.fset.Position(id.Pos())})
			}
			return true
		})
	}
	return out
}
