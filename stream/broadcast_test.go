package stream_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// rule is a threshold of that name; a negative one removes it.
type rule struct {
	Name  string
	Above int64
}

// matcher emits each click that a rule applies to. The clicks of a user that
// came so far are looked at again when a rule is added.
type matcher struct {
	rules stream.BroadcastMap[string, int64]
	seen  state.List[int64]
}

func (m *matcher) Open(ctx *stream.ProcessContext[string, string]) error {
	if err := m.rules.Open(ctx, "rules"); err != nil {
		return err
	}
	return m.seen.Open(ctx.State(), "seen")
}

func (m *matcher) Process(ctx *stream.ProcessContext[string, string], c click) error {
	m.seen.Add(c.N)
	for name, above := range m.rules.All() {
		m.match(ctx, name, above, c.N)
	}
	return nil
}

func (m *matcher) ProcessBroadcast(ctx *stream.KeyedBroadcastContext[string, string], r rule) error {
	if r.Above < 0 {
		m.rules.Delete(ctx, r.Name)
		return nil
	}
	m.rules.Put(ctx, r.Name, r.Above)
	return ctx.ForEachKey(&m.seen, func(ctx *stream.ProcessContext[string, string]) error {
		for n := range m.seen.All() {
			m.match(ctx, r.Name, r.Above, n)
		}
		return nil
	})
}

func (m *matcher) match(ctx *stream.ProcessContext[string, string], name string, above, n int64) {
	if n > above {
		ctx.Emit(fmt.Sprintf("%s: %s %02d", name, ctx.Key(), n))
	}
}

func ExampleBroadcastProcess() {
	env := stream.NewEnv()
	rules := stream.From(env, collection.Slice(rule{"large", 20}, rule{"medium", 7}), stream.UID("rules"))
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	show(env, stream.BroadcastProcess(byUser, rules, &matcher{}, stream.UID("matcher")))
	// Output:
	// large: ann 32
	// medium: ann 08
	// medium: ann 32
	// medium: bob 16
}

// TestBroadcastProcess wants each pair of rule and click once, whichever came
// first, whatever is lost in between, at any parallelism.
func TestBroadcastProcess(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3, 1024} {
		env := stream.NewEnv()
		var all []click
		var some []rule
		var want []string
		for i := range int64(60) {
			all = append(all, click{User: fmt.Sprint("user", i%9), N: i})
		}
		for i := range int64(20) {
			some = append(some, rule{fmt.Sprint("rule", i), 3 * i})
			for _, c := range all {
				if c.N > 3*i {
					want = append(want, fmt.Sprintf("rule%d: %s %02d", i, c.User, c.N))
				}
			}
		}
		clicks := stream.From(env, collection.Slice(all...).BatchRows(size), stream.UID("clicks"))
		rules := stream.From(env, collection.Slice(some...).BatchRows(size), stream.UID("rules"), stream.Parallelism(1))
		byUser := stream.KeyBy(clicks, func(c click) string { return c.User })
		got := runDisturbed(t, env, stream.BroadcastProcess(byUser, rules, &matcher{}, stream.UID("matcher")))
		if !sameLines(got, want) {
			t.Fatalf("batches of %d: %d lines, want %d:\n%q\n%q", size, len(got), len(want), got, want)
		}
	}
}

// adder adds the latest broadcast number to each row.
type adder struct {
	latest stream.BroadcastMap[string, int]
}

func (a *adder) Open(ctx *stream.RowContext[int]) error {
	return a.latest.Open(ctx, "latest")
}

func (a *adder) Process(ctx *stream.RowContext[int], v int) error {
	n, _ := a.latest.Get("n")
	ctx.Emit(v + n)
	return nil
}

func (a *adder) ProcessBroadcast(ctx *stream.BroadcastContext[int], v int) error {
	a.latest.Put(ctx, "n", v)
	return nil
}

func ExampleBroadcastProcessRows() {
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(100), stream.UID("numbers"))
	rows := stream.From(env, collection.Slice(1, 2, 3), stream.UID("rows"))
	show(env, stream.BroadcastProcessRows(rows, numbers, &adder{}, stream.UID("adder")))
	// Output:
	// 101
	// 102
	// 103
}
