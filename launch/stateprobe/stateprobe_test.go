package stateprobe_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch/stateprobe"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/runtime/stateplan"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

type row struct {
	User string
	N    int64
}

type older struct {
	Gone   string
	Count  int32
	Last   string
	Nested struct{ A, B int64 }
	Same   []int64
}

type newer struct {
	Same   []int64
	Count  int64
	Page   string `leat:"was=Last"`
	Nested struct {
		A int64
		C int64 `leat:"was=B"`
	}
	Since time.Time
}

type narrower struct{ Count int8 }

// keeper has a state of each kind, of values T.
type keeper[T any] struct {
	value state.Value[T]
	list  state.List[T]
	pages state.Map[string, T]
	more  state.Value[int64]
	names []string // of the states to open
	fail  string
}

// Open implements stream.KeyedOpener.
func (k *keeper[T]) Open(ctx *stream.ProcessContext[string, row]) error {
	switch k.fail {
	case "error":
		return errors.New("no database here")
	case "panic":
		panic("no database here")
	}
	open := map[string]func(name string) error{
		"value": func(name string) error { return k.value.Open(ctx.State(), name) },
		"list":  func(name string) error { return k.list.Open(ctx.State(), name) },
		"pages": func(name string) error { return k.pages.Open(ctx.State(), name) },
		"more":  func(name string) error { return k.more.Open(ctx.State(), name) },
	}
	for _, name := range k.names {
		if err := open[name](name); err != nil {
			return err
		}
	}
	return nil
}

// Process implements stream.KeyedProcessor.
func (k *keeper[T]) Process(ctx *stream.ProcessContext[string, row], r row) error {
	ctx.Emit(r)
	return nil
}

func encoder() (formats.Encoder[row], error) { return jsonfmt.NewEncoder(row{}) }

func jobOf[T any](t *testing.T, fail string, names ...string) *graph.JobGraph {
	t.Helper()
	env := stream.NewEnv(stream.MaxParallelism(16))
	rows := stream.From(env, datagen.New(datagen.Config{}, func(i int64, _ *rand.Rand) row { return row{N: i} }), stream.UID("rows"))
	kept := stream.Process(stream.KeyBy(rows, func(r row) string { return r.User }), &keeper[T]{names: names, fail: fail}, stream.UID("keep"))
	kept.To(console.New(encoder), stream.UID("out"))
	g, err := env.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// heldBy is what a savepoint of a job holds: what a fresh start of it opens.
func heldBy(t *testing.T, g *graph.JobGraph) stateplan.Held {
	t.Helper()
	var held stateplan.Held
	for _, o := range stateprobe.Probe(t.Context(), g, held).Operators {
		h := stateplan.HeldOperator{ID: o.ID}
		for _, s := range o.States {
			if s.Fate != stateplan.New || s.Was != "" {
				t.Fatalf("a fresh start finds %+v", s)
			}
			h.Tables = append(h.Tables, stateplan.Table{Name: s.Name, Schema: s.Now, Sub: s.Name == "pages"})
		}
		held.Operators = append(held.Operators, h)
	}
	return held
}

func probeOf(t *testing.T, g *graph.JobGraph, held stateplan.Held) stateplan.Operator {
	t.Helper()
	text, err := held.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if held, err = stateplan.Parse(text); err != nil {
		t.Fatal(err)
	}
	b, err := stateplan.Attach(g, stateprobe.Probe(t.Context(), g, held))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := graph.Unmarshal(b); err != nil || again.Fingerprint() != g.Fingerprint() {
		t.Fatalf("the graph beside the answer: %v", err)
	}
	a, ok, err := stateplan.Detach(b)
	if err != nil || !ok || len(a.Operators) != 1 {
		t.Fatalf("%v, %v: %+v", ok, err, a)
	}
	return a.Operators[0]
}

func told(o stateplan.Operator) []string {
	var out []string
	for _, s := range o.States {
		out = append(out, fmt.Sprintf("%s %s %s", s.Name, s.Fate, strings.Join(s.Changes, "; ")))
	}
	return out
}

// What becomes of state is told before the start: by name, and by what has
// changed in it.
func TestProbe(t *testing.T) {
	t.Parallel()
	held := heldBy(t, jobOf[older](t, "", "value", "list", "pages"))
	const diff = "Gone: dropped, it was string; Count: int32 is now int64; Last: renamed Page; Nested.B: renamed C; Since: new, time"
	for name, c := range map[string]struct {
		now  *graph.JobGraph
		want []string
	}{
		"the same":       {jobOf[older](t, "", "value", "list", "pages"), []string{"list restored ", "pages restored ", "value restored "}},
		"a state more":   {jobOf[older](t, "", "value", "list", "pages", "more"), []string{"list restored ", "more new ", "pages restored ", "value restored "}},
		"a state less":   {jobOf[older](t, "", "value"), []string{"list unused ", "pages unused ", "value restored "}},
		"another type":   {jobOf[newer](t, "", "value", "list", "pages"), []string{"list migrated " + diff, "pages migrated " + diff, "value migrated " + diff}},
		"a narrower one": {jobOf[narrower](t, "", "list"), nil},
	} {
		o := probeOf(t, c.now, held)
		if c.want == nil {
			if o.Error == nil || o.Error.Code != "LEAT4201" || !strings.Contains(o.Error.Why, `"list" of operator "keep"`) || !strings.Contains(o.Error.Why, "Count") {
				t.Errorf("%s: %+v", name, o.Error)
			}
			continue
		}
		if got := told(o); o.Error != nil || o.Unknown != "" || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v %s\n got %q\nwant %q", name, o.Error, o.Unknown, got, c.want)
		}
	}
}

// An Open that cannot work where programs are planned leaves what it would do
// unknown, and is no refusal.
func TestProbeOfOpenThatFails(t *testing.T) {
	t.Parallel()
	held := heldBy(t, jobOf[older](t, "", "value"))
	for _, fail := range []string{"error", "panic"} {
		if o := probeOf(t, jobOf[older](t, fail, "value"), held); o.Error != nil || !strings.Contains(o.Unknown, "no database here") {
			t.Errorf("%s: %+v", fail, o)
		}
	}
}

// Keys of another type are refused as at the start.
func TestProbeOfKeys(t *testing.T) {
	t.Parallel()
	held := heldBy(t, jobOf[older](t, "", "value"))
	held.Operators[0].Tables = append(held.Operators[0].Tables, stateplan.Table{Name: state.KeyTable, Schema: "key int64"})
	if o := probeOf(t, jobOf[older](t, "", "value"), held); o.Error == nil || o.Error.Code != "LEAT4201" || !strings.Contains(o.Error.Why, "int64") {
		t.Errorf("%+v", o)
	}
}

// lister keeps a list that belongs to no key.
type lister[T any] struct{ list stream.ListState[T] }

// Open implements stream.RowProcessor.
func (l *lister[T]) Open(ctx *stream.RowContext[row]) error { return l.list.Open(ctx, "seen") }

// Process implements stream.RowProcessor.
func (l *lister[T]) Process(ctx *stream.RowContext[row], r row) error {
	ctx.Emit(r)
	return nil
}

func listing[T any](t *testing.T) *graph.JobGraph {
	t.Helper()
	env := stream.NewEnv(stream.MaxParallelism(16))
	rows := stream.From(env, datagen.New(datagen.Config{}, func(i int64, _ *rand.Rand) row { return row{N: i} }), stream.UID("rows"))
	stream.ProcessRows(rows, &lister[T]{}, stream.UID("keep")).To(console.New(encoder), stream.UID("out"))
	g, err := env.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// State that is not keyed is looked at as it is, unless it is large.
func TestProbeOfOperatorState(t *testing.T) {
	t.Parallel()
	set, err := opstate.Open(&operators.Context{Info: dataflow.TaskInfo{Parallelism: 1}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := opstate.NewList[older](set, "seen")
	if err != nil {
		t.Fatal(err)
	}
	list.Add(older{Count: 3})
	id := listing[older](t).Nodes[1].ID
	held := stateplan.Held{Operators: []stateplan.HeldOperator{{ID: id, State: [][]byte{set.Snapshot(), nil}}}}
	if o := probeOf(t, listing[newer](t), held); o.Error != nil || o.Unknown != "" {
		t.Errorf("a type that can be read: %+v", o)
	}
	if o := probeOf(t, listing[narrower](t), held); o.Error == nil || o.Error.Code != "LEAT4201" || !strings.Contains(o.Error.Why, `"seen" of operator "keep" is a list`) {
		t.Errorf("a type that cannot be read: %+v", o)
	}
	held.Operators[0].State, held.Operators[0].Large = nil, true
	if o := probeOf(t, listing[older](t), held); !strings.Contains(o.Unknown, "too large") {
		t.Errorf("large state: %+v", o)
	}
}
