package arch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each direct dependency has its line of why, and no line is left over.
func TestDependenciesHaveAReason(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root(t), "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := make(map[string]bool)
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(line)
		if len(f) == 2 && strings.HasPrefix(f[1], "v") && strings.HasPrefix(line, "\t") {
			direct[f[0]] = true
		}
	}
	if len(direct) < 10 {
		t.Fatalf("go.mod names only %d direct dependencies: it was not understood", len(direct))
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		module := strings.TrimSpace(cells[1])
		if !strings.Contains(module, ".") {
			continue
		}
		if !direct[module] {
			t.Errorf("docs/dependencies.md has a line for %s, which is no direct dependency", module)
		}
		delete(direct, module)
	}
	for module := range direct {
		t.Errorf("%s has no line of why in docs/dependencies.md", module)
	}
}
