//go:build mutants

// Package mutants breaks the engine on purpose, one rule of exactly-once at a
// time, and wants a named test to notice. The broken code exists only in an
// overlay of the build, never in the tree. It runs by make e2e-mutants.
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

// mutant is one broken rule.
type mutant struct {
	name string
	file string
	// old is the one place in file that becomes new.
	old, new string
	// finder is the package and test that must fail.
	pkg, test string
	// cluster: the proof on real servers must fail, too.
	cluster bool
}

var mutants = []mutant{
	{
		name: "a sink commits before the pointer has moved",
		file: "connectors/kafka/writer.go",
		old:  "\treturn []connectors.Committable{{Owner: sl.number, Data: t.encode()}}, nil\n",
		new: "\tif err := t.commit(ctx, w.client, w.clk); err != nil {\n\t\treturn nil, err\n\t}\n" +
			"\treturn []connectors.Committable{{Owner: sl.number, Data: t.encode()}}, nil\n",
		pkg: "./connectors/kafka", test: "TestCommittedOnlyAfterCommit", cluster: true,
	},
	{
		name: "records of aborted transactions are read",
		file: "connectors/kafka/krecord/iter.go",
		old:  "return it.h.Transactional && slices.Contains(it.dropping, it.h.ProducerID), nil",
		new:  "return false, nil",
		pkg:  "./connectors/kafka/krecord", test: "TestFilterAgainstAModelOfTheLog",
	},
	{
		name: "a channel is read on after its barrier",
		file: "checkpoint/barrier/barrier.go",
		old:  "\t\tch.blocked = true\n\t\ta.act(Action{Kind: ActionBlock, Channel: ev.Channel, ID: ev.ID})\n",
		new:  "",
		pkg:  "./checkpoint/barrier", test: "TestSnapshotHoldsExactlyTheRowsBeforeTheBarriers",
	},
	{
		name: "the attempt before is not fenced",
		file: "connectors/kafka/writer.go",
		old:  "ids[i] = txnIDOf(string(w.ctx.Incarnation), w.ctx.Info.UID, i)",
		new:  "ids[i] = txnIDOf(string(w.ctx.Incarnation)+fmt.Sprint(w.clk.Now().UnixNano()), w.ctx.Info.UID, i)",
		pkg:  "./connectors/kafka", test: "TestZombieIsFenced", cluster: true,
	},
	{
		name: "what has fired is forgotten in a restore",
		file: "operators/bound/bound.go",
		old:  "\treturn int64(binary.LittleEndian.Uint64(v)), nil\n",
		new:  "\treturn dataflow.TimeMin, nil\n",
		pkg:  "./operators/window", test: "TestAgainstReference",
	},
}

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
	original := filepath.Join(root, m.file)
	b, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s has the code to break %d times, not once: adapt the mutant\n%s", m.file, n, m.old)
	}
	broken := filepath.Join(t.TempDir(), "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(b), m.old, m.new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: broken}})
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
