package arch_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/arch"
)

// publicPackages are those that users' programs and their tests import.
var publicPackages = []string{
	"connectors", "connectors/collection", "connectors/connectortest", "connectors/console", "connectors/datagen",
	"connectors/files", "connectors/hybrid", "connectors/kafka", "formats", "formats/csvfmt", "formats/jsonfmt",
	"launch", "state", "stream", "stream/cep", "stream/streamtest",
}

// aliased are those whose types the public packages show under names of theirs.
var aliased = []string{
	"operators/measure", "operators/opstate", "operators/rowop",
}

// TestManual: every entry point of the public packages has an example that
// runs and shows its effect, no example gives type arguments that could be
// inferred, and every name has a contract.
func TestManual(t *testing.T) {
	t.Parallel()
	_, packages, err := arch.Load(root(t))
	if err != nil {
		t.Fatal(err)
	}
	typer, err := arch.NewTyper(root(t), packages)
	if err != nil {
		t.Fatal(err)
	}
	m, err := arch.NewManual(typer, packages, publicPackages)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Entries) < 400 {
		t.Fatalf("only %d entry points were found: the check would prove nothing", len(m.Entries))
	}
	report(t, m.Unshown(exempt))
	found, err := arch.TypeArguments(typer, packages, namesType)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
	report(t, arch.Contracts(packages, slices.Concat(publicPackages, aliased)))
}

// namesType may only shrink: functions that examples call with a type argument,
// and why no argument says it.
var namesType = map[string]string{
	"columnar.TypeOf": "a connector of one's own names its row type once",
	"columnar.Rows":   "batches have rows of any type: a connector says which it means",
}

const (
	forEngine  = "operators and backends call it, no program does"
	configured = "whoever takes the configuration calls it"
	variable   = "names an environment variable, which no example sets"
	opened     = "Open shows it: this is for who needs the handle as a value"
	bridge     = "stream/cep calls it, no program does"
)

// exempt may only shrink: entry points that no example with an output shows.
var exempt = map[string]string{
	"connectors.Typed.RowsOf":           "only its type matters",
	"datagen.Config.EnsureDefaults":     configured,
	"datagen.Config.Validate":           configured,
	"datagen.Source.Fault":              configured,
	"files.Sink.Fault":                  configured,
	"files.SinkConfig.EnsureDefaults":   configured,
	"files.SinkConfig.Validate":         configured,
	"files.SourceConfig.EnsureDefaults": configured,
	"files.SourceConfig.Validate":       configured,
	"hybrid.Source.Fault":               configured,
	"launch.CodeGraph":                  "a code of a fault: docs/operating/errors.md has them",
	"launch.CodePanic":                  "a code of a fault: docs/operating/errors.md has them",
	"launch.CodeUsage":                  "a code of a fault: docs/operating/errors.md has them",
	"launch.Main":                       "it reads the command line and ends the process: its example has no output",
	"rowop.RowContext.OperatorState":    "the Open of a state calls it",
	"state.BindKey":                     forEngine,
	"state.CheckDescriptor":             forEngine,
	"state.EntryBytesMax":               forEngine,
	"state.FramedTable":                 forEngine,
	"state.Key.Group":                   forEngine,
	"state.KeyBytesMax":                 forEngine,
	"state.KeyTable":                    forEngine,
	"state.Keyed":                       forEngine,
	"state.NameOperator":                forEngine,
	"state.NewAggregating":              opened,
	"state.NewList":                     opened,
	"state.NewMap":                      opened,
	"state.NewValue":                    opened,
	"state.RowTable":                    forEngine,
	"stream.Extend":                     bridge,
	"stream.ExtendedSide":               bridge,
	"stream.FailAt":                     bridge,
	"stream.NoStream":                   bridge,
	"streamtest.EnvMatrix":              variable,
	"streamtest.EnvSeed":                variable,
}

// broken is a module in which each rule of the manual is broken once.
var broken = map[string]string{
	"go.mod": "module example.com/m\n\ngo 1.26\n",
	"x/x.go": `// Package x is for tests.
package x

// Shown is shown by an example.
func Shown() int { return 1 }

// Hidden is shown by none.
func Hidden() int { return 1 }

// Of names a type.
func Of[T any](v ...T) int { return len(v) }

// Box has a method that is shown, and fields.
type Box struct {
	// Said and Also are said by a comment, barely.
	Said int
	Also int
	bar  int
	Bar  int

	// Other stands with Alone in this comment, but not in one block.
	Other int

	Alone int
}

// Open is shown by the type of the example.
func (Box) Open() int { return 2 }

// String implements fmt.Stringer.
func (Box) String() string { return "" }
`,
	"x/x_test.go": `package x_test

import (
	"fmt"

	"example.com/m/x"
)

type user struct{ x.Box }

func (u user) call() { fmt.Println(u.Open()) }

func Example() {
	user{}.call()
	fmt.Println(x.Shown(), x.Of[int]())
	// Output: 1
}

// Without an output nothing is shown.
func ExampleHidden() { x.Hidden() }
`}

// TestManualChecksFail: what is broken is found.
func TestManualChecksFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range broken {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, packages, err := arch.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	typer, err := arch.NewTyper(dir, packages)
	if err != nil {
		t.Fatal(err)
	}
	m, err := arch.NewManual(typer, packages, []string{"x"})
	if err != nil {
		t.Fatal(err)
	}
	var found []arch.Finding
	found = append(found, m.Unshown(map[string]string{"x.Gone": "it was there"})...)
	args, err := arch.TypeArguments(typer, packages, map[string]string{"x.Gone": "it was there"})
	if err != nil {
		t.Fatal(err)
	}
	found = append(append(found, args...), arch.Contracts(packages, []string{"x"})...)
	var got []string
	for _, f := range found {
		got = append(got, f.Rule+" "+f.Where[strings.LastIndex(f.Where, " ")+1:])
	}
	want := []string{"example x.Hidden", "example x.Gone", "type argument x.Of", "type argument x.Gone", "contract Box.Bar", "contract Box.Alone"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
