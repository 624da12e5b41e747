// Command fraud raises alerts for transactions by three rules: a large amount;
// more than three transactions of a user within five minutes, late ones up to
// a minute included; a location that is not among the known ones of the user's
// profile, which comes from a compacted topic. All alerts go to fraud-alerts,
// exactly once.
//
//	go run ./examples/fraud
//	go run ./examples/fraud --local --brokers localhost:9092
package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// Transaction is what is read. Amounts are held in cents.
type Transaction struct {
	ID       string    `json:"transaction_id"`
	User     string    `json:"user_id"`
	Amount   int64     `json:"amount" leat:"decimal=2"`
	Location string    `json:"location"`
	At       time.Time `json:"ts"`
}

// Profile is the value of a record of user-profiles; its key is the user's id.
type Profile struct {
	Locations []string `json:"locations"`
}

// Alert is a result. Subject is a transaction's id, or the start of the five
// minutes in which there were too many.
type Alert struct {
	Rule    string `json:"rule"`
	User    string `json:"user_id"`
	Subject string `json:"subject"`
}

// The limits of the rules.
const (
	amountMost   = 10_000_00
	frequentMost = 3
	frequentSpan = 5 * time.Minute
	grace        = time.Minute
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "fraud", nil)
	transactions := place.From(p, "transactions", datagen.New(datagen.Config{Count: 20_000, Splits: 2, PerSecond: 5_000}, makeTransaction))
	profiles := place.Entries(p, "user-profiles", datagen.New(datagen.Config{Count: users}, makeProfile))
	byUser := func(dst []byte, a *Alert) []byte { return append(dst, a.User...) }
	alerts(env, transactions, profiles).To(place.To(p, "fraud-alerts", byUser), stream.UID("alerts"))
	return p.Err()
}

// alerts adds the job to env.
func alerts(env *stream.Env, from connectors.SourceOf[Transaction], known connectors.SourceOf[formats.Entry[Profile]]) *stream.DataStream[Alert] {
	all := stream.From(env, from, stream.UID("transactions"),
		stream.Timestamps(func(t Transaction) time.Time { return t.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
	byUser := stream.KeyBy(all, func(t Transaction) string { return t.User })

	large := stream.Map(all.Filter(func(t Transaction) bool { return t.Amount > amountMost }), alertOf("amount"))

	windows := byUser.Window(stream.Tumbling(frequentSpan), stream.AllowedLateness(grace))
	counts := stream.AggregateWindow(windows, counter{}, func(user string, w stream.Window, n int64) busy {
		return busy{User: user, Start: w.Start(), N: n}
	}, stream.UID("frequency"))
	often := counts.Filter(func(b busy) bool { return b.N > frequentMost })
	byWindow := stream.KeyBy(often, func(b busy) busy { return busy{User: b.User, Start: b.Start} })
	frequent := stream.Process(byWindow, &onceEach{}, stream.UID("once-each"))

	profiles := stream.TableFrom(stream.From(env, known, stream.UID("user-profiles")), stream.UID("profiles"))
	strange := stream.TableJoin(byUser, profiles, stream.LeftOuter(func(t Transaction, p *Profile) checked {
		return checked{Transaction: t, Known: p != nil && slices.Contains(p.Locations, t.Location)}
	}), stream.UID("locations"))
	elsewhere := stream.Map(strange.Filter(func(c checked) bool { return !c.Known }), func(c checked) Alert { return alertOf("location")(c.Transaction) })

	return large.Union(frequent, elsewhere)
}

func alertOf(rule string) func(Transaction) Alert {
	return func(t Transaction) Alert { return Alert{Rule: rule, User: t.User, Subject: t.ID} }
}

// busy is how many transactions a user had in a window.
type busy struct {
	User  string
	Start time.Time
	N     int64
}

// checked is a transaction whose location was looked at.
type checked struct {
	Transaction Transaction
	Known       bool
}

// counter counts.
type counter struct{}

// Add implements stream.Aggregator.
func (counter) Add(n *int64, _ Transaction) { *n++ }

// Result implements stream.Aggregator.
func (counter) Result(n *int64) int64 { return *n }

// onceEach passes the first result of each window on: a late transaction makes
// the window's result come again.
type onceEach struct {
	told state.Value[bool]
}

// Open implements stream.KeyedProcessor.
func (o *onceEach) Open(ctx *stream.ProcessContext[busy, Alert]) error {
	return o.told.Open(ctx.State(), "told", state.WithTTL(state.TTL{After: time.Hour, Time: state.EventTime}))
}

// Process implements stream.KeyedProcessor.
func (o *onceEach) Process(ctx *stream.ProcessContext[busy, Alert], b busy) error {
	if _, again := o.told.Get(); again {
		return nil
	}
	o.told.Set(true)
	ctx.Emit(Alert{Rule: "frequency", User: b.User, Subject: b.Start.UTC().Format(time.RFC3339)})
	return nil
}

const users = 100

var cities = []string{"OSLO", "ROME", "KYOTO", "LIMA"}

func makeTransaction(i int64, rng *rand.Rand) Transaction {
	return Transaction{
		ID: fmt.Sprintf("TX-%06d", i), User: fmt.Sprintf("USER-%03d", rng.IntN(users)), Amount: rng.Int64N(10_050_00),
		Location: cities[rng.IntN(len(cities))], At: time.UnixMilli(1_767_225_600_000 + 1000*i).UTC(),
	}
}

func makeProfile(i int64, rng *rand.Rand) formats.Entry[Profile] {
	first := rng.IntN(len(cities) - 1)
	return formats.Entry[Profile]{Key: fmt.Sprintf("USER-%03d", i), Value: Profile{Locations: cities[first : first+2]}}
}
