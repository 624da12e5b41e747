package arch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/arch"
)

// longFunctions may only shrink: functions above the limit, with their length.
var longFunctions = map[string]int{}

// goStatements may only shrink: how many go statements a package has. Those of
// services that end with a channel of theirs, or that outlive their caller.
var goStatements = map[string]int{
	"connectors/datagen":            1,
	"connectors/files":              1,
	"connectors/kafka/kwire":        1,
	"internal/devs3":                1,
	"launch":                        1,
	"launch/command":                1,
	"operators/sinkop":              1,
	"runtime/bundle":                1,
	"runtime/ctlrpc":                6,
	"runtime/exchange/exchangegrpc": 4,
	"runtime/ha/etcdha":             1,
	"runtime/ha/hatest":             2,
	"runtime/minicluster":           1,
	"runtime/restapi":               1,
	"runtime/taskexec":              3,
	"runtime/worker":                1,
	"state/lookup":                  1,
	"state/statetest":               1,
}

func TestTree(t *testing.T) {
	t.Parallel()
	module, packages, err := arch.Load(root(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 20 {
		t.Fatalf("only %d packages were listed: the check would prove nothing", len(packages))
	}
	std := strings.Fields(run(t, "go", "list", "std"))
	report(t, arch.Layers(module, packages))
	report(t, arch.Names(packages, std))
	report(t, arch.Stale(packages))
	report(t, arch.Sources(packages, longFunctions))
	report(t, arch.Goroutines(packages, goStatements))
}

// Each check must fail on a fixture that breaks its rule.
func TestChecksFail(t *testing.T) {
	t.Parallel()
	const m = "example.com/m"
	pkg := func(path, name string, imports ...string) []arch.Package {
		return []arch.Package{{Path: path, Name: name, Imports: imports, GoFiles: []string{"x.go"}}}
	}
	cases := map[string][]arch.Finding{
		"layer: state imports operators":      arch.Layers(m, pkg("state/x", "x", m+"/operators")),
		"layer: runtime imports the API":      arch.Layers(m, pkg("runtime/x", "x", m+"/stream")),
		"layer: runtime imports a connector":  arch.Layers(m, pkg("runtime/x", "x", m+"/connectors/kafka")),
		"layer: somebody imports a command":   arch.Layers(m, pkg("launch", "x", m+"/cmd/flinkctl")),
		"layer: etcd server in a bundle":      arch.Layers(m, pkg("launch", "x", m+"/internal/devetcd")),
		"layer: a folder without layer":       arch.Layers(m, pkg("stuff", "stuff")),
		"layer: minio outside the store":      arch.Layers(m, pkg("runtime/x", "x", "github.com/minio/minio-go/v7")),
		"layer: pebble outside its backend":   arch.Layers(m, pkg("runtime/x", "x", "github.com/cockroachdb/pebble/v2")),
		"layer: example reaches into runtime": arch.Layers(m, pkg("examples/x", "main", m+"/runtime/task")),
		"name: empty word":                    arch.Names(pkg("internal/util", "util"), nil),
		"name: standard library":              arch.Names(pkg("formats/json", "json"), []string{"encoding/json"}),
		"name: twice":                         arch.Names(append(pkg("a/x", "x"), pkg("b/x", "x")...), nil),
		"stale: no such folder":               arch.Stale(pkg("dataflow", "dataflow")),
		"name: case":                          arch.Names(pkg("a/x", "fooBar"), nil),
	}
	for name, found := range cases {
		if len(found) == 0 {
			t.Errorf("%s: nothing was found", name)
		}
	}
	if f := arch.Layers(m, pkg("runtime/x", "x", m+"/operators", m+"/dataflow/graph")); len(f) != 0 {
		t.Errorf("allowed imports were refused: %v", f)
	}
}

func TestSourceChecksFail(t *testing.T) {
	t.Parallel()
	fixtures := map[string]string{
		"doc":           "package x\n",
		"init":          "// Package x is for tests.\npackage x\n\nfunc init() {}\n",
		"clock":         "// Package x is for tests.\npackage x\n\nimport \"time\"\n\nvar at = time.Now()\n",
		"unfinished":    "// Package x is for tests.\npackage x\n\n// TO" + "DO: more\n",
		"function size": "// Package x is for tests.\npackage x\n\nfunc long() {\n" + strings.Repeat("\tprintln()\n", 80) + "}\n",
		"file size":     "// Package x is for tests.\npackage x\n" + strings.Repeat("\n", 900),
	}
	for rule, src := range fixtures {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		found := arch.Sources([]arch.Package{{Path: "state/x", Name: "x", Dir: dir, GoFiles: []string{"x.go"}}}, nil)
		if len(found) != 1 || found[0].Rule != rule {
			t.Errorf("%s: found %v", rule, found)
		}
	}
	stale := arch.Sources(nil, map[string]int{"gone.f": 90})
	if len(stale) != 1 {
		t.Errorf("a stale entry of the ratchet list was not found: %v", stale)
	}
}

// TestOtherFilesAreChecked: files of tests and of other builds are looked at,
// except for their package comment.
func TestOtherFilesAreChecked(t *testing.T) {
	t.Parallel()
	const bubble = "package x\n\nimport (\n\t\"testing/synctest\"\n\t\"time\"\n)\n\nvar run = synctest.Run\n\nfunc wait() { time.Sleep(1) }\n"
	for _, c := range []struct{ file, src, rule string }{
		{"x_test.go", "package x\n\nimport \"time\"\n\nfunc wait() { time.Sleep(1) }\n", "sleep"},
		{"x_test.go", "package x\n\nfunc wait() { clock.Real{}.Sleep(1) }\n", "sleep"},
		{"x_test.go", bubble, ""},
		{"x_test.go", "package x\n\nfunc wait(c *clock.Manual) { c.Sleep(1) }\n", ""},
		{"x_test.go", "package x\n\n// TO" + "DO: more\n", "unfinished"},
		{"x_test.go", "package x\n\nimport \"time\"\n\nvar at = time.Now()\n", ""},
		{"x_tagged.go", "//go:build never\n\npackage x\n\nimport \"time\"\n\nvar at = time.Now()\n", "clock"},
		{"x_tagged.go", "//go:build never\n\npackage x\n\nfunc init() {}\n", "init"},
	} {
		dir := t.TempDir()
		for name, src := range map[string]string{"x.go": "// Package x is for tests.\npackage x\n", c.file: c.src} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found := arch.Sources([]arch.Package{{Path: "state/x", Name: "x", Dir: dir, GoFiles: []string{"x.go"}, OtherFiles: []string{c.file}}}, nil)
		if c.rule == "" && len(found) > 0 || c.rule != "" && (len(found) != 1 || found[0].Rule != c.rule) {
			t.Errorf("%q: found %v, want %q", c.src, found, c.rule)
		}
	}
	_, packages, err := arch.Load(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if p.Path == "internal/fault" && (!slices.Contains(p.OtherFiles, "on.go") || !slices.Contains(p.OtherFiles, "remote_test.go")) {
			t.Errorf("internal/fault: other files are %v", p.OtherFiles)
		}
	}
}

func TestGoroutineChecksFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := "package x\n\nfunc f() {\n" + strings.Repeat("\tgo f()\n", 3) + "}\n"
	for _, name := range []string{"x.go", "x_tagged.go", "x_test.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pkg := []arch.Package{{Path: "state/x", Name: "x", Dir: dir, GoFiles: []string{"x.go"}, OtherFiles: []string{"x_test.go", "x_tagged.go"}}}
	for allowed, want := range map[int]string{0: "6 go statements, the list allows 0", 5: "the list allows 5", 7: "there are 6: lower it", 6: ""} {
		var texts string
		for _, f := range arch.Goroutines(pkg, map[string]int{"state/x": allowed}) {
			texts += f.String() + "\n"
		}
		if !strings.Contains(texts, want) || !strings.Contains(texts, "6 go statements in") {
			t.Errorf("%d allowed: found %q", allowed, texts)
		}
	}
}

func report(t *testing.T, found []arch.Finding) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}

func root(t *testing.T) string {
	t.Helper()
	return filepath.Dir(strings.TrimSpace(run(t, "go", "env", "GOMOD")))
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}
