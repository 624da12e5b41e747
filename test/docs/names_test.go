package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mapped are the packages whose names docs/guides/operator-map.md may use.
var mapped = []string{
	"stream", "stream/cep", "stream/streamtest", "state", "formats", "connectors/kafka", "connectors/console", "connectors/hybrid",
	"connectors/datagen", "operators/rowop", "operators/opstate", "operators/window", "operators/measure",
}

// exported returns the names that packages declare for others: functions,
// types, methods, fields, constants and variables.
func exported(t *testing.T, dirs []string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(repo, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					names[n.Name.Name] = true
					return false
				case *ast.TypeSpec:
					names[n.Name.Name] = true
				case *ast.ValueSpec:
					for _, id := range n.Names {
						names[id.Name] = true
					}
				case *ast.Field:
					for _, id := range n.Names {
						names[id.Name] = true
					}
				}
				return true
			})
		}
	}
	return names
}

var (
	codeSpan = regexp.MustCompile("`[^`]+`")
	inQuotes = regexp.MustCompile(`"[^"]*"`)
	goName   = regexp.MustCompile(`\b[A-Z]\w*`)
)

// TestOperatorMapNamesWhatThereIs looks up each name of Go in the second
// column of the tables.
func TestOperatorMapNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	names := exported(t, mapped)
	found := 0
	for line := range strings.Lines(read(t, filepath.Join(repo, "docs/guides/operator-map.md"))) {
		cells := strings.Split(line, " | ")
		if len(cells) < 2 || !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, span := range codeSpan.FindAllString(cells[1], -1) {
			if strings.HasPrefix(span, "`GET ") {
				continue
			}
			for _, name := range goName.FindAllString(inQuotes.ReplaceAllString(span, ""), -1) {
				if found++; !names[name] && name != "JOB" && name != "OPERATOR" && name != "KEY" {
					t.Errorf("%s in %s: there is no such name", name, strings.TrimSpace(line))
				}
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d names found", found)
	}
}
