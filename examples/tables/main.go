// Command tables joins two tables that change, users with their accounts, and
// adds up the balances of each city, correcting the sums as users move and
// accounts close: what comes out are the changes of a table. Without brokers
// it makes both up.
//
//	go run ./examples/tables --local
//	go run ./examples/tables --local --brokers localhost:9092
package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

// User is the value of a record; its key is the user's id.
type User struct {
	Name string `json:"name"`
	City string `json:"city"`
}

// Account is the value of a record; its key is the user's id.
type Account struct {
	Cents int64 `json:"cents"`
}

// Holder is a user with an account.
type Holder struct {
	City  string
	Cents int64
}

// Balance is what the accounts of a city hold together.
type Balance struct {
	Holders int64 `json:"holders"`
	Cents   int64 `json:"cents"`
}

type (
	users    = formats.Entry[User]
	accounts = formats.Entry[Account]
	balances = formats.Entry[Balance]
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "tables", nil)
	made := p.Made(datagen.Config{Splits: 1, PerSecond: 10, Seed: 1})
	people := place.Entries(p, "users", datagen.New(made, makeUser))
	money := place.Entries(p, "accounts", datagen.New(made, makeAccount))
	balance(env, people, money, place.EntriesTo(p, "balances", Balance{}))
	return p.Err()
}

// balance adds the job to env. It knows nothing of Kafka, so that a test can
// give it other sources and sinks.
func balance(env *stream.Env, from connectors.SourceOf[users], with connectors.SourceOf[accounts], to connectors.SinkOf[balances]) {
	people := stream.TableFrom(stream.From(env, from, stream.UID("users")), stream.UID("user-table"))
	money := stream.TableFrom(stream.From(env, with, stream.UID("accounts")), stream.UID("account-table"))

	holders := stream.JoinTables(people, money, stream.Inner(func(u User, a Account) Holder {
		return Holder{City: u.City, Cents: a.Cents}
	}), stream.UID("holders"))
	byCity := stream.GroupTable(holders, func(_ string, h Holder) (string, int64) { return h.City, h.Cents })
	sums := stream.AggregateTable(byCity, balancing{}, stream.UID("balances"))

	changes := stream.Map(sums.Changes(), func(c stream.Change[string, Balance]) balances {
		return balances{Key: c.Key, Value: c.Value, Deleted: c.Deleted()}
	})
	changes.To(to, stream.UID("out"))
}

// balancing adds accounts up and takes them out again.
type balancing struct{}

// Add implements stream.TableAggregator.
func (balancing) Add(b *Balance, cents int64) { b.Holders++; b.Cents += cents }

// Subtract implements stream.TableAggregator.
func (balancing) Subtract(b *Balance, cents int64) { b.Holders--; b.Cents -= cents }

// Result implements stream.TableAggregator.
func (balancing) Result(b *Balance) Balance { return *b }

func makeUser(_ int64, rng *rand.Rand) users {
	n := rng.IntN(20)
	return users{
		Key: fmt.Sprintf("USER-%02d", n), Deleted: rng.IntN(10) == 0,
		Value: User{Name: fmt.Sprintf("Name %d", n), City: []string{"Oslo", "Rome", "Kyoto"}[rng.IntN(3)]},
	}
}

func makeAccount(_ int64, rng *rand.Rand) accounts {
	return accounts{Key: fmt.Sprintf("USER-%02d", rng.IntN(20)), Deleted: rng.IntN(10) == 0, Value: Account{Cents: rng.Int64N(100_000)}}
}
