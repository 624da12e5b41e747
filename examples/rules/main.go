// Command rules raises alarms for payments by rules that change while it runs:
// every subtask holds all rules, and a rule that is added looks at the
// payments that came before it, too.
//
//	go run ./examples/rules
//	go run ./examples/rules --local --brokers localhost:9092
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Payment is a payment by an account.
type Payment struct {
	ID      int64  `json:"id"`
	Account string `json:"account"`
	Cents   int64  `json:"cents"`
}

// Rule asks for an alarm when an account has paid more than a sum. Off ends
// the rule.
type Rule struct {
	Name  string `json:"name"`
	Above int64  `json:"above"`
	Off   bool   `json:"off"`
}

// Alarm says that an account is above the limit of a rule.
type Alarm struct {
	Rule    string `json:"rule"`
	Account string `json:"account"`
	Cents   int64  `json:"cents"`
}

func build(env *stream.Env) error {
	set := flag.NewFlagSet("rules", flag.ContinueOnError)
	count := set.Int64("count", 1_000, "number of made-up payments; 0: without end")
	p := place.Flags(env, "rules", set)
	rules := place.From(p, "rules", collection.Slice(Rule{Name: "large", Above: 100_000}, Rule{Name: "huge", Above: 110_000}))
	payments := place.From(p, "payments", datagen.New(datagen.Config{Count: *count, PerSecond: 1_000}, makePayment))
	alarms(env, payments, rules).To(place.Values(p, "alarms", Alarm{}), stream.UID("out"))
	return p.Err()
}

// alarms adds the job to env.
func alarms(env *stream.Env, payments connectors.SourceOf[Payment], rules connectors.SourceOf[Rule]) *stream.DataStream[Alarm] {
	paid := stream.From(env, payments, stream.UID("payments"))
	byAccount := stream.KeyBy(paid, func(p Payment) string { return p.Account })
	changes := stream.From(env, rules, stream.UID("rules"))
	return stream.BroadcastProcess(byAccount, changes, &guard{}, stream.UID("guard"))
}

// guard keeps the sum of each account, and which rules have raised an alarm
// for it: each does so once.
type guard struct {
	rules  stream.BroadcastMap[string, int64]
	sum    state.Value[int64]
	raised state.Map[string, bool]
}

// Open implements stream.BroadcastProcessor.
func (g *guard) Open(ctx *stream.ProcessContext[string, Alarm]) error {
	if err := g.rules.Open(ctx, "rules"); err != nil {
		return err
	}
	if err := g.sum.Open(ctx.State(), "sum"); err != nil {
		return err
	}
	return g.raised.Open(ctx.State(), "raised")
}

// Process implements stream.BroadcastProcessor.
func (g *guard) Process(ctx *stream.ProcessContext[string, Alarm], p Payment) error {
	sum, _ := g.sum.Get()
	g.sum.Set(sum + p.Cents)
	for name, above := range g.rules.All() {
		g.check(ctx, name, above)
	}
	return nil
}

// ProcessBroadcast implements stream.BroadcastProcessor.
func (g *guard) ProcessBroadcast(ctx *stream.KeyedBroadcastContext[string, Alarm], r Rule) error {
	if r.Off {
		g.rules.Delete(ctx, r.Name)
		return nil
	}
	g.rules.Put(ctx, r.Name, r.Above)
	return ctx.ForEachKey(&g.sum, func(ctx *stream.ProcessContext[string, Alarm]) error {
		g.check(ctx, r.Name, r.Above)
		return nil
	})
}

func (g *guard) check(ctx *stream.ProcessContext[string, Alarm], rule string, above int64) {
	sum, _ := g.sum.Get()
	if _, done := g.raised.Get(rule); done || sum <= above {
		return
	}
	g.raised.Put(rule, true)
	ctx.Emit(Alarm{Rule: rule, Account: ctx.Key(), Cents: sum})
}

func makePayment(i int64, rng *rand.Rand) Payment {
	return Payment{ID: i, Account: fmt.Sprintf("account-%02d", rng.IntN(50)), Cents: 1 + rng.Int64N(10_000)}
}
