package main

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestBalance compares what is left of the changes, after calm and wild runs,
// with the sums of the last users and accounts.
func TestBalance(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var us []users
	var as []accounts
	for i := range int64(500) {
		us, as = append(us, makeUser(i, rng)), append(as, makeAccount(i, rng))
	}
	people, money, want := map[string]User{}, map[string]int64{}, map[string]Balance{}
	for i := range us {
		if delete(people, us[i].Key); !us[i].Deleted {
			people[us[i].Key] = us[i].Value
		}
		if delete(money, as[i].Key); !as[i].Deleted {
			money[as[i].Key] = as[i].Value.Cents
		}
	}
	for id, u := range people {
		if cents, ok := money[id]; ok {
			b := want[u.City]
			want[u.City] = Balance{b.Holders + 1, b.Cents + cents}
		}
	}
	for name, opt := range map[string]streamtest.Options{
		"calm": {},
		"wild": {Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7},
	} {
		out := collection.NewCollector(balances{})
		env := stream.NewEnv()
		balance(env, collection.Slice(us...).BatchRows(10), collection.Slice(as...).BatchRows(10), out)
		if _, err := streamtest.Run(t.Context(), env, opt); err != nil {
			t.Fatal(err)
		}
		got := map[string]Balance{}
		for _, c := range out.Rows() {
			if delete(got, c.Key); !c.Deleted {
				got[c.Key] = c.Value
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: balances %v, want %v", name, got, want)
		}
	}
}
