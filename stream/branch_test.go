package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleDataStream_Branch() {
	env := stream.NewEnv()
	kinds := from(env).Branch()
	many := kinds.When(func(c click) bool { return c.N >= 16 })
	anns := kinds.When(func(c click) bool { return c.User == "ann" })
	rest := kinds.Otherwise()
	as := func(kind string) func(click) string {
		return func(c click) string { return fmt.Sprintf("%s: %s %02d", kind, c.User, c.N) }
	}
	show(env, stream.Merge(
		stream.Map(many, as("many")), stream.Map(anns, as("ann's")), stream.Map(rest, as("rest"))))
	// Output:
	// ann's: ann 01
	// ann's: ann 04
	// ann's: ann 08
	// many: ann 32
	// many: bob 16
	// rest: bob 02
}

func ExampleMerge() {
	env := stream.NewEnv()
	a := stream.From(env, collection.Slice("a", "b"), stream.UID("a"))
	b := stream.From(env, collection.Slice("c"), stream.UID("b"))
	show(env, stream.Merge(a, b))
	// Output:
	// a
	// b
	// c
}

func ExampleDataStream_Peek() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2), stream.UID("numbers"))
	show(env, numbers.Peek(func(n int) { fmt.Println("saw", n) }))
	// Output:
	// saw 1
	// saw 2
	// 1
	// 2
}

func ExampleMapBatch() {
	env := stream.NewEnv()
	squares := stream.MapBatch(from(env), func(in []click, out []int64) []int64 {
		for i := range in {
			out = append(out, in[i].N*in[i].N)
		}
		return out
	})
	show(env, stream.Map(squares, func(n int64) string { return fmt.Sprintf("%04d", n) }))
	// Output:
	// 0001
	// 0004
	// 0016
	// 0064
	// 0256
	// 1024
}

func ExampleDataStream_UpdateBatch() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, 2), stream.UID("numbers"))
	show(env, numbers.UpdateBatch(func(rows []int) {
		for i := range rows {
			rows[i] *= 10
		}
	}))
	// Output:
	// 10
	// 20
}

func ExampleRepartition() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	spread := stream.Repartition(byUser, func(user string, parallelism int) int { return len(user) % parallelism })
	show(env, stream.Map(spread, func(c click) string { return c.User }, stream.Parallelism(2)))
	// Output:
	// ann
	// ann
	// ann
	// ann
	// bob
	// bob
}

// TestBranchAgainstReference sends random rows through random cases in many
// ways; the input is shared with a step that changes it.
func TestBranchAgainstReference(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	var rows, low, even, rest, tens []int
	for range 200 {
		v := rng.IntN(50)
		rows = append(rows, v)
		tens = append(tens, v*10)
		switch {
		case v < 10:
			low = append(low, v)
		case v%2 == 0:
			even = append(even, v)
		default:
			rest = append(rest, v)
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "rows", streamtest.Rows(rows[:80]...), streamtest.Rows(rows[80:]...))
		kinds := in.Branch()
		streamtest.Expect(b, "low", kinds.When(func(v int) bool { return v < 10 }), low)
		streamtest.Expect(b, "even", kinds.When(func(v int) bool { return v%2 == 0 }), even)
		streamtest.Expect(b, "rest", kinds.Otherwise(), rest)
		streamtest.Expect(b, "tens", in.UpdateBatch(func(rows []int) {
			for i := range rows {
				rows[i] *= 10
			}
		}), tens)
		streamtest.Expect(b, "same", stream.MapBatch(in, func(in, out []int) []int { return append(out, in...) }), rows)
	}})
}

func TestMapBatchOfAnotherLengthFails(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1, 2, 3), stream.UID("src"))
	stream.MapBatch(src, func(in, out []int) []int { return append(out, 1) }).To(collection.NewCollector(0), stream.UID("out"))
	_, err := streamtest.Run(t.Context(), env, streamtest.Options{})
	if err == nil || !strings.Contains(err.Error(), "returned 1 rows for a batch of 3") {
		t.Fatalf("error %v", err)
	}
}

func TestFaultsOfBranches(t *testing.T) {
	t.Parallel()
	env, other := stream.NewEnv(), stream.NewEnv()
	src := stream.From(env, collection.Slice(1), stream.UID("src"))
	far := stream.From(other, collection.Slice(1), stream.UID("src"))
	src.Branch().When(nil)
	stream.Merge(src, far)
	src.Peek(nil)
	src.UpdateBatch(nil)
	stream.MapBatch(src, (func(in, out []int) []int)(nil))
	stream.Repartition(stream.KeyBy(src, func(v int) int { return v }), nil)
	wantFaults(t, "branch_test.go", env,
		"When is given a nil function", "Merge has inputs of two environments", "Peek is given a nil function",
		"UpdateBatch is given a nil function", "MapBatch is given a nil function", "Repartition is given a nil function")
}

// TestChainsAndSlots wants tasks and slots as the options say.
func TestChainsAndSlots(t *testing.T) {
	t.Parallel()
	build := func(opts ...stream.EnvOption) *graph.Plan {
		env := stream.NewEnv(opts...)
		d := stream.From(env, collection.Slice(1), stream.UID("src"))
		one := func(v int) int { return v }
		d = stream.Map(d, one, stream.Name("a"))
		d = stream.Map(d, one, stream.Name("b"), stream.NoChaining())
		d = stream.Map(d, one, stream.Name("c"))
		d = stream.Map(d, one, stream.Name("d"), stream.StartChain())
		d = stream.Map(d, one, stream.Name("e"), stream.SlotSharingGroup("heavy"), stream.Parallelism(3))
		d.To(collection.NewCollector(0), stream.UID("out"))
		g, err := env.Graph()
		if err != nil {
			t.Fatal(err)
		}
		p, err := graph.Build(g, 2)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var got []string
	p := build()
	for _, v := range p.Vertices {
		got = append(got, v.Name+" in "+v.SlotGroup)
	}
	want := "src -> a in default; b in default; c in default; d in default; e in heavy; out in heavy"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("vertices %s, want %s", text, want)
	}
	if n := p.Slots(); n != 2+3 {
		t.Errorf("%d slots, want 5", n)
	}
	if n := len(build(stream.DisableChaining()).Vertices); n != 7 {
		t.Errorf("%d tasks without chaining, want 7", n)
	}
}
