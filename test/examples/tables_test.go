//go:build e2e

package examples_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// tablePrograms join tables with streams and with each other.
func tablePrograms() []program {
	return []program{
		{
			name: "enrich", topics: map[string]int32{"orders": 2, "customers": 2}, outputs: []string{"orders.enriched"},
			input: enrichInput,
			check: checkEnriched,
		},
		{
			name: "tables", topics: map[string]int32{"users": 2, "accounts": 2}, outputs: []string{"balances"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for range 1500 {
					topic, value := "users", any(map[string]any{"name": "n", "city": []string{"Oslo", "Rome", "Kyoto"}[rng.IntN(3)]})
					if rng.IntN(2) == 0 {
						topic, value = "accounts", map[string]any{"cents": rng.IntN(10_000)}
					}
					in = append(in, entry(rng, topic, fmt.Sprint("USER-", rng.IntN(25)), value))
				}
				return in, 700
			},
			check: checkBalances,
		},
	}
}

// entry is a record of a compacted topic: now and then it deletes the key,
// whose partition follows from it.
func entry(rng *rand.Rand, topic, key string, value any) message {
	m := jsonMessage(topic, int32(key[len(key)-1]%2), key, value)
	if rng.IntN(8) == 0 {
		m.value = nil
	}
	return m
}

// enrichInput makes customers, and orders before and after them.
func enrichInput(rng *rand.Rand) (in []message, half int) {
	order := func(i int) {
		o := map[string]any{"id": fmt.Sprint("ORD-", i), "customer": fmt.Sprint("CUST-", rng.IntN(30)), "cents": i, "at": at(i)}
		in = append(in, jsonMessage("orders", int32(i%2), "", o))
	}
	for i := range 400 {
		in = append(in, entry(rng, "customers", fmt.Sprint("CUST-", rng.IntN(25)), map[string]any{"name": fmt.Sprint("N", i), "country": "NO"}))
		order(i)
	}
	half = len(in)
	for i := range 400 {
		order(400 + i)
	}
	return in, half
}

// checkEnriched: orders that came with the customers have one of their
// versions; those after them the last.
func checkEnriched(t *testing.T, in, out []message) {
	type customer struct{ Name, Country string }
	last := make(map[string]string)
	ever := map[string]map[string]bool{}
	wanted := make(map[string]string) // order: customer
	for _, m := range in {
		if m.topic == "orders" {
			var o struct{ ID, Customer string }
			decode(t, m, &o)
			wanted[o.ID] = o.Customer
			continue
		}
		key, text := string(m.key), "nobody"
		if m.value != nil {
			var c customer
			decode(t, m, &c)
			text = c.Name
		}
		if ever[key] == nil {
			ever[key] = map[string]bool{}
		}
		ever[key][text] = true
		last[key] = text
	}
	got := make(map[string]int)
	for _, m := range out {
		var e struct {
			Order    struct{ ID, Customer string }
			Customer *customer
		}
		decode(t, m, &e)
		got[e.Order.ID]++
		text := "nobody"
		if e.Customer != nil {
			text = e.Customer.Name
		}
		known := last[e.Order.Customer]
		if known == "" {
			known = "nobody"
		}
		var n int
		if _, err := fmt.Sscanf(e.Order.ID, "ORD-%d", &n); err != nil {
			t.Fatal(err)
		}
		if n >= 400 && text != known || n < 400 && text != "nobody" && !ever[e.Order.Customer][text] {
			t.Errorf("order %s of %s has customer %q, want %q", e.Order.ID, e.Order.Customer, text, known)
		}
	}
	want := make(map[string]int)
	for id := range wanted {
		want[id] = 1
	}
	equal(t, got, want)
}

// checkBalances: the last change of each city is that of the final tables, and
// each is a change, as none that came twice is.
func checkBalances(t *testing.T, in, out []message) {
	city, cents := make(map[string]string), make(map[string]int)
	for _, m := range in {
		key := string(m.key)
		switch {
		case m.value == nil && m.topic == "users":
			delete(city, key)
		case m.value == nil:
			delete(cents, key)
		default:
			var row struct {
				City  string
				Cents int
			}
			if decode(t, m, &row); m.topic == "users" {
				city[key] = row.City
			} else {
				cents[key] = row.Cents
			}
		}
	}
	type balance struct{ Holders, Cents int }
	want := make(map[string]balance)
	for user, c := range city {
		if sum, ok := cents[user]; ok {
			b := want[c]
			want[c] = balance{b.Holders + 1, b.Cents + sum}
		}
	}
	got := make(map[string]balance)
	for _, m := range out {
		b := balance{}
		if m.value != nil {
			decode(t, m, &b)
		}
		if got[string(m.key)] == b {
			t.Errorf("%s is %v again", m.key, b)
		}
		got[string(m.key)] = b
	}
	for city, b := range got {
		if b.Holders == 0 {
			delete(got, city)
		}
	}
	equal(t, got, want)
}
