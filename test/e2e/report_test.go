//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// save writes a part of the report to build/e2e-report.
func save(t *testing.T, name, text string) {
	t.Helper()
	dir := filepath.Join(module(), "build", "e2e-report")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
