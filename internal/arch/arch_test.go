package arch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/arch"
)

// longFunctions may only shrink: functions above the limit, with their length.
var longFunctions = map[string]int{}

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
