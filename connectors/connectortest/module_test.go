package connectortest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/release"
)

// clockTest uses all that a contract names, without its internal packages.
const clockTest = `package other

import (
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
)

type clock struct{ connectors.Clock }

func (c clock) NewTimer(d time.Duration) connectors.Timer { return c.Clock.NewTimer(d) }

func TestContexts(t *testing.T) {
	manual := connectortest.NewClock(time.Unix(0, 0))
	ctx := connectortest.NewReaderContext(func() {})
	ctx.Clock = clock{manual}
	timer := ctx.Clock.NewTimer(time.Hour)
	manual.Advance(time.Hour)
	<-timer.C()
	e := &connectors.EnumeratorContext{Clock: connectortest.MachineClock()}
	if e.Clock.Now().IsZero() || connectortest.NewWriterContext(1, 2, nil).Info.Parallelism != 2 {
		t.Error("the contexts are empty")
	}
}
`

// TestAConnectorOfAnotherModule compiles the connector of the example in a
// module of its own, which sees no internal package, and runs its conformance
// suites there.
func TestAConnectorOfAnotherModule(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds another module")
	}
	dir := t.TempDir()
	for name, text := range otherModule(t) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-v", "./...")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"PASS: TestContexts", "PASS: TestSourceConforms/moves_splits_between_readers", "PASS: TestSinkConforms/recovers_at_any_parallelism"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in what the tests of the other module say:\n%s", want, out)
		}
	}
}

// otherModule are the files of the module, by name.
func otherModule(t *testing.T) map[string]string {
	t.Helper()
	const other = "example.com/other"
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	files := map[string]string{
		"go.mod": strings.Replace(read("go.mod"), "module "+release.Module+"\n", "module "+other+"\n", 1) +
			"\nrequire " + release.Module + " v0.0.0\n\nreplace " + release.Module + " => " + root + "\n",
		"go.sum": read("go.sum"), "clock_test.go": clockTest,
	}
	for _, dir := range []string{"points", "service"} {
		entries, err := os.ReadDir(filepath.Join(root, "examples/connector", dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text := read(filepath.Join("examples/connector", dir, e.Name()))
			files[dir+"/"+e.Name()] = strings.ReplaceAll(text, release.Module+"/examples/connector", other)
		}
	}
	return files
}
