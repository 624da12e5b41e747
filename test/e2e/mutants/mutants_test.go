//go:build mutants

package mutants

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMutantsAreFound(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			overlay := m.overlay(t, root)
			// What does not compile would be found by everything.
			if out, err := run(t, root, nil, "go", "build", "-overlay="+overlay, m.pkg); err != nil {
				t.Fatalf("the mutant does not compile: %v\n%s", err, out)
			}
			m.mustFail(t, root, nil, "go", "test", "-count=1", "-overlay="+overlay, "-run", "^"+m.test+"$", m.pkg)
			if m.cluster && !testing.Short() {
				m.onCluster(t, root, overlay)
			}
		})
	}
}

// overlay writes the broken file and the overlay that puts it in place.
func (m *mutant) overlay(t *testing.T, root string) string {
	t.Helper()
	broken := filepath.Join(t.TempDir(), "broken.go")
	if err := os.WriteFile(broken, []byte(m.broken(t, root)), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): broken}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// onCluster runs kills of workers with the broken code in the bundle.
func (m *mutant) onCluster(t *testing.T, root, overlay string) {
	t.Helper()
	goflags := "GOFLAGS=-tags=failpoints -overlay=" + overlay
	dir := filepath.Join(root, "build", "e2e")
	if out, err := run(t, root, []string{"GOFLAGS=-tags=failpoints"}, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/jobmanager", "./cmd/taskmanager", "./cmd/flinkctl"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	broken := t.TempDir()
	for _, name := range []string{"jobmanager", "taskmanager", "flinkctl"} {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(broken, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run(t, root, []string{goflags}, filepath.Join(dir, "flinkctl"), "bundle", "build", "./examples/orders", "-o", filepath.Join(broken, "orders.bundle")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.mustFail(t, root, []string{"LEAT_E2E_PROGRAMS=" + broken}, "go", "test", "-count=1", "-tags", "e2e", "-run", "^TestKills$", "./test/e2e", "-targets", "worker", "-rounds", "6")
}

// mustFail runs tests and wants them to fail, and not for want of a test.
func (m *mutant) mustFail(t *testing.T, root string, env []string, argv ...string) {
	t.Helper()
	out, err := run(t, root, env, argv...)
	switch {
	case err == nil:
		t.Errorf("NOT FOUND: %s passes although %s\n%s", strings.Join(argv, " "), m.name, out)
	case !strings.Contains(out, "--- FAIL"):
		t.Errorf("no test has failed, something else has: %v\n%s", err, out)
	default:
		t.Logf("found by %s: %s", strings.Join(argv, " "), reason(out))
	}
}

// reason is the first line that says what is wrong.
func reason(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") && !strings.Contains(line, "hit ") {
			return strings.TrimSpace(line)
		}
	}
	return "(see above)"
}

// limit bounds one command.
const limit = 10 * time.Minute

func run(t *testing.T, dir string, env []string, argv ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return string(out), err
}
