// Package arch holds the checks of the project's structure: which folder may
// import which, how packages are named and documented, how long files and
// functions may be. The checks are functions over a loaded tree so that tests
// can prove, on small fixtures, that each of them does fail. It is not a
// linter for style: that is golangci-lint's work.
package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package is what the checks know of one package.
type Package struct {
	// Path is relative to the module ("runtime/task"), "" for its root.
	Path string
	Name string
	Dir  string
	// GoFiles are the names of non-test files of the default build.
	GoFiles []string
	// OtherFiles are those of tests and of builds with other tags.
	OtherFiles []string
	// Imports are full import paths.
	Imports []string
}

// Finding is one broken rule.
type Finding struct {
	Rule, Where, Why string
}

func (f Finding) String() string { return f.Rule + ": " + f.Where + ": " + f.Why }

// Load lists the packages of the module in dir.
func Load(dir string) (module string, packages []Package, err error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,Module", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", nil, fmt.Errorf("go list: %w: %s", err, exit.Stderr)
		}
		return "", nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath, Name, Dir string
			GoFiles, Imports      []string
			TestGoFiles           []string
			XTestGoFiles          []string
			IgnoredGoFiles        []string
			Module                struct{ Path string }
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return module, packages, nil
		} else if err != nil {
			return "", nil, err
		}
		module = p.Module.Path
		packages = append(packages, Package{
			Path: strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"),
			Name: p.Name, Dir: p.Dir, GoFiles: p.GoFiles, Imports: p.Imports,
			OtherFiles: slices.Concat(p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles),
		})
	}
}

// layerRule says what a folder may import of the module.
type layerRule struct {
	// folder and everything below it.
	folder string
	// may holds folders (with what is below them) that it may import besides
	// its own sub-packages.
	may []string
	why string
}

// layers is ordered from the most to the least specific folder: the first
// that matches a package decides.
var layers = []layerRule{
	{"internal/arch", nil, "checks know nothing of what they check"},
	{"internal", []string{"internal"}, "leaf helpers import nothing of the module but each other"},
	{"proto", nil, "generated code only"},
	{"dataflow", []string{"internal", "dataflow"}, "the vocabulary is below everything"},
	{"columnar", []string{"internal", "dataflow"}, "batches know nothing of state or operators"},
	{"state", []string{"internal", "dataflow", "state"}, "state knows nothing of batches or operators"},
	{"formats", []string{"internal", "dataflow", "columnar", "formats"}, "formats know nothing of where bytes come from"},
	{"checkpoint", []string{"internal", "proto", "dataflow", "state", "checkpoint"}, "the protocol knows no operator and no cluster"},
	{"connectors", []string{"internal", "dataflow", "columnar", "formats", "connectors"}, "connectors know no operator and no cluster"},
	{"operators", []string{"internal", "dataflow", "columnar", "state", "connectors", "operators"}, "operators know no cluster"},
	{"stream", []string{"internal", "dataflow", "columnar", "state", "formats", "connectors", "operators", "stream"}, "the API knows no cluster"},
	{"runtime", []string{"internal", "proto", "dataflow", "columnar", "state", "checkpoint", "connectors", "operators", "runtime"}, "the cluster knows no front end"},
	{"launch", nil, ""}, // may import all below: see topLayer
	{"cmd", nil, ""},
	{"test", nil, ""},
	{"bench", nil, ""},
	{"examples", []string{"dataflow", "columnar", "formats", "connectors", "state", "operators", "stream", "launch"}, "examples use what users use"},
}

// unrestricted folders may import everything that is not in nobodyImports.
var unrestricted = []string{"launch", "cmd", "test", "bench"}

// nobodyImports are the folders that only themselves may import.
var nobodyImports = []string{"cmd", "test", "bench", "examples"}

// contractsOnly are packages that the runtime may import of folders whose
// other packages are concrete: connectors, operators, state. state/lookup
// reads any backend through the contract, state/stateform writes what it found
// as text, operators/measure names the figures that REST shows.
var contractsOnly = []string{"connectors", "operators", "operators/measure", "state", "state/lookup", "state/stateform"}

// externalRule confines a third-party module to some folders.
type externalRule struct {
	Import  string
	Folders []string
	Why     string
}

// externals are the confinements of third-party libraries.
var externals = []externalRule{
	{"k8s.io/", nil, "the engine does not need Kubernetes"},
	{"github.com/minio/minio-go", []string{"checkpoint/store/s3store", "connectors/files"}, "one store and one connector own it"},
	{"github.com/cockroachdb/pebble", []string{"state/pebblestate"}, "one backend owns it"},
	{"go.etcd.io/etcd/client", []string{"runtime/ha/etcdha", "internal/devetcd"}, "one coordination owns it"},
	{"go.etcd.io/etcd/server", []string{"internal/devetcd"}, "bundles and servers do not carry an etcd server"},
	{"github.com/twmb/franz-go", []string{"internal/devbroker", "connectors/kafka", "cmd/flinkctl", "test", "bench"}, "the engine has its own client; this is the broker, the reader of proofs and flinkctl's look at transactions"},
	{"google.golang.org/grpc", []string{"runtime/ctlrpc", "runtime/exchange/exchangegrpc", "proto", "cmd"}, "transport stays at the edge"},
}

// devServers are linked into flinkctl, benchmarks and tests only.
var devServers = []string{"internal/devetcd", "internal/devbroker", "internal/devs3"}

func under(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

func underAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return under(path, f) })
}

// Layers checks that imports run one way.
func Layers(module string, packages []Package) []Finding {
	var out []Finding
	for _, p := range packages {
		rule, ok := ruleOf(p.Path)
		if !ok {
			out = append(out, Finding{"layer", p.Path, "the folder has no layer: give it one in internal/arch"})
			continue
		}
		for _, imp := range p.Imports {
			if why := forbidden(module, p, rule, imp); why != "" {
				out = append(out, Finding{"layer", p.Path + " imports " + imp, why})
			}
		}
	}
	return out
}

func ruleOf(path string) (layerRule, bool) {
	for _, r := range layers {
		if under(path, r.folder) {
			return r, true
		}
	}
	return layerRule{}, path == ""
}

func forbidden(module string, p Package, rule layerRule, imp string) string {
	if imp != module && !strings.HasPrefix(imp, module+"/") {
		return forbiddenExternal(p.Path, imp)
	}
	target := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
	if target == "test/proof" && under(p.Path, "bench") {
		return "" // benchmarks run on the proof's input and are checked by it
	}
	if underAny(target, nobodyImports) && topFolder(target) != topFolder(p.Path) {
		return "nobody imports " + topFolder(target)
	}
	if underAny(target, devServers) && !underAny(p.Path, append([]string{"cmd/flinkctl", "connectors/kafka/kafkatest", "test", "bench"}, devServers...)) {
		return "development servers are linked into flinkctl, benchmarks and tests only"
	}
	if underAny(p.Path, unrestricted) || under(target, rule.folder) {
		return ""
	}
	if !underAny(target, rule.may) {
		return rule.why
	}
	if rule.folder == "runtime" && underAny(target, contractsOnly) && !slices.Contains(contractsOnly, target) {
		return "the runtime knows contracts only: concrete operators, connectors and backends are joined in launch"
	}
	return ""
}

func forbiddenExternal(path, imp string) string {
	for _, e := range externals {
		if strings.HasPrefix(imp, e.Import) && !underAny(path, e.Folders) {
			return e.Why + " (allowed in " + strings.Join(e.Folders, ", ") + ")"
		}
	}
	return ""
}

func topFolder(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// Stale checks that every folder named in the tables has a package: a rule
// for one that is gone would check nothing.
func Stale(packages []Package) []Finding {
	var folders []string
	for _, r := range layers {
		folders = append(folders, r.folder)
		folders = append(folders, r.may...)
	}
	for _, e := range externals {
		folders = append(folders, e.Folders...)
	}
	for _, list := range [][]string{unrestricted, nobodyImports, contractsOnly, devServers} {
		folders = append(folders, list...)
	}
	slices.Sort(folders)
	var out []Finding
	for _, f := range slices.Compact(folders) {
		if !slices.ContainsFunc(packages, func(p Package) bool { return under(p.Path, f) }) {
			out = append(out, Finding{"stale", f, "a rule of internal/arch names it, but it has no package"})
		}
	}
	return out
}

// badNames are package names that say nothing.
var badNames = []string{"util", "utils", "common", "helpers", "helper", "base", "misc", "types", "models", "lib"}

// Names checks that package names are unique, say something and equal no
// package of the standard library.
func Names(packages []Package, std []string) []Finding {
	stdNames := make(map[string]string)
	for _, s := range std {
		if !strings.Contains(s, "internal") && !strings.HasPrefix(s, "vendor/") {
			stdNames[filepath.Base(s)] = s
		}
	}
	seen := make(map[string]string)
	var out []Finding
	for _, p := range packages {
		if p.Name == "main" || len(p.GoFiles) == 0 {
			continue // nobody can import it
		}
		if slices.Contains(badNames, p.Name) {
			out = append(out, Finding{"name", p.Path, "the name says nothing: folders are nouns of the domain"})
		}
		if s, clash := stdNames[p.Name]; clash && !under(p.Path, "cmd") {
			out = append(out, Finding{"name", p.Path, "package " + p.Name + " collides with the standard library's " + s})
		}
		if other, dup := seen[p.Name]; dup {
			out = append(out, Finding{"name", p.Path, "package " + p.Name + " exists already: " + other})
		}
		seen[p.Name] = p.Path
		if strings.ToLower(p.Name) != p.Name || strings.Contains(p.Name, "_") {
			out = append(out, Finding{"name", p.Path, "package names are lower case, one word"})
		}
	}
	return out
}
