package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// goroutinesMax is the number of go statements per linesOfBudget lines of the
// engine: each goroutine needs an owner, an exit and a bound, so their number
// is kept small. WaitGroup.Go has an owner and does not count.
const (
	goroutinesMax = 5
	linesOfBudget = 10_000
)

// notEngine are the folders that the budget does not concern.
var notEngine = []string{"proto", "cmd", "test", "bench", "examples", "tools"}

// Goroutines checks that go statements stand only in the packages of the
// ratchet list, at most as many as it says, and that all of them together are
// within the budget. An entry that is not used up is to be lowered; one for a
// package that is not in the tree allows nothing and is let be.
func Goroutines(packages []Package, ratchet map[string]int) []Finding {
	var out []Finding
	total, lines := 0, 0
	seen := make(map[string]int)
	for _, p := range packages {
		if underAny(p.Path, notEngine) {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.OtherFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			n, l, err := goStatements(filepath.Join(p.Dir, name))
			if err != nil {
				out = append(out, Finding{"goroutines", filepath.Join(p.Path, name), err.Error()})
				continue
			}
			seen[p.Path] += n
			total, lines = total+n, lines+l
		}
	}
	for _, path := range slices.Sorted(maps.Keys(seen)) {
		if n := seen[path]; n > ratchet[path] {
			out = append(out, Finding{"goroutines", path, fmt.Sprintf(
				"%d go statements, the list allows %d: use sync.WaitGroup.Go, or say in the list why the owner is another", n, ratchet[path])})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(ratchet)) {
		if _, exists := seen[path]; exists && ratchet[path] > seen[path] {
			out = append(out, Finding{"goroutines", path, fmt.Sprintf("the list allows %d go statements, there are %d: lower it", ratchet[path], seen[path])})
		}
	}
	if most := max(goroutinesMax, lines*goroutinesMax/linesOfBudget); total > most {
		out = append(out, Finding{"goroutines", "the engine", fmt.Sprintf("%d go statements in %d lines, the budget is %d", total, lines, most)})
	}
	return out
}

func goStatements(path string) (n, lines int, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return 0, 0, err
	}
	ast.Inspect(f, func(x ast.Node) bool {
		if _, ok := x.(*ast.GoStmt); ok {
			n++
		}
		return true
	})
	return n, fset.File(f.FileStart).LineCount(), nil
}
