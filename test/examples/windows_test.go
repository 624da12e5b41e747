//go:build e2e

package examples_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// windowPrograms look at sales and orders through windows, and split them.
func windowPrograms() []program {
	return []program{
		{name: "rolling", topics: map[string]int32{"orders": 2}, outputs: []string{"revenue", "rolling", "last"}, input: regionOrders, check: checkRolling},
		{name: "vip", topics: map[string]int32{"orders": 2}, outputs: []string{"orders.vip", "orders.europe", "orders.others"}, input: regionOrders, check: checkBranches},
		{
			name: "topn", topics: map[string]int32{"sales": 2}, outputs: []string{"best", "visits"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 3000 {
					sale := map[string]any{"product": fmt.Sprint("P", rng.IntN(1+rng.IntN(12))), "shopper": fmt.Sprint("S", rng.IntN(300)), "at": at(2 * i)}
					in = append(in, jsonMessage("sales", int32(i%2), "", sale))
				}
				return in, 1300
			},
			check: checkRanks,
		},
		{
			name: "fraud", topics: map[string]int32{"transactions": 2, "user-profiles": 2}, outputs: []string{"fraud-alerts"},
			input: fraudInput, check: checkFraud,
		},
	}
}

type regionOrder struct {
	ID, Customer, Region string
	Amount               float64
	At                   time.Time
	Level                string
}

func regionOrders(rng *rand.Rand) (in []message, half int) {
	for i := range 2400 {
		o := map[string]any{
			"id": fmt.Sprint("O", i), "customer": fmt.Sprint("C", rng.IntN(40)), "region": []string{"EU-WEST", "EU-NORTH", "US-EAST"}[rng.IntN(3)],
			"amount": float64(rng.IntN(100_000)-500) / 100, "at": at(i),
		}
		in = append(in, jsonMessage("orders", int32(i%2), "", o))
	}
	return in, 1100
}

func ordersOf(t *testing.T, in []message) (out []regionOrder) {
	for _, m := range in {
		var o regionOrder
		decode(t, m, &o)
		out = append(out, o)
	}
	return out
}

// checkRolling: which hundred orders are the last depends on how the
// partitions interleave; their number does not.
func checkRolling(t *testing.T, in, out []message) {
	type sum struct {
		n     int
		cents int64
	}
	want := make(map[string]sum)
	add := func(kind, region string, start time.Time, o regionOrder) {
		id := fmt.Sprint(kind, " ", region, " ", start.Format(time.RFC3339))
		s := want[id]
		want[id] = sum{s.n + 1, s.cents + int64(math.Round(o.Amount*100))}
	}
	orders := ordersOf(t, in)
	last := make(map[string]int)
	for _, o := range orders {
		for start := o.At.Truncate(5 * time.Minute); o.At.Sub(start) < 10*time.Minute; start = start.Add(-5 * time.Minute) {
			add("revenue", o.Region, start, o)
		}
		for start := o.At.Truncate(time.Minute); o.At.Sub(start) < 5*time.Minute; start = start.Add(-time.Minute) {
			add("rolling", o.Region, start.Add(5*time.Minute), o)
		}
		last[o.Region]++
	}
	lasts := make(map[string]int)
	got := make(map[string]sum)
	put := func(id string, s sum) {
		if _, twice := got[id]; twice {
			t.Errorf("%s came twice", id)
		}
		got[id] = s
	}
	for _, m := range out {
		var r struct {
			Region       string
			Start, Until time.Time
			Sum, Mean    float64
			Orders       int
		}
		switch decode(t, m, &r); m.topic {
		case "revenue":
			id := fmt.Sprint("revenue ", r.Region, " ", r.Start.Format(time.RFC3339))
			put(id, sum{want[id].n, int64(math.Round(r.Sum * 100))})
		case "rolling":
			id := fmt.Sprint("rolling ", r.Region, " ", r.Until.Format(time.RFC3339))
			put(id, sum{r.Orders, int64(math.Round(r.Mean * 100 * float64(r.Orders)))})
		default:
			lasts[r.Region]++
			if r.Orders != min(100, r.Orders) || r.Orders < 1 {
				t.Errorf("average of %d orders, at most 100", r.Orders)
			}
		}
	}
	equal(t, got, want)
	equal(t, lasts, last)
}

func checkBranches(t *testing.T, in, out []message) {
	want, got := make(map[string]string), make(map[string]string)
	for _, o := range ordersOf(t, in) {
		switch {
		case o.Amount <= 0:
		case o.Amount >= 500:
			want[o.ID] = "orders.vip vip " + o.Customer
		case strings.HasPrefix(o.Region, "EU-"):
			want[o.ID] = "orders.europe  " + o.Customer
		default:
			want[o.ID] = "orders.others  " + o.Customer
		}
	}
	for _, m := range out {
		var o regionOrder
		decode(t, m, &o)
		if _, twice := got[o.ID]; twice {
			t.Errorf("order %s came twice", o.ID)
		}
		got[o.ID] = m.topic + " " + o.Level + " " + string(m.key)
	}
	equal(t, got, want)
}

func checkRanks(t *testing.T, in, out []message) {
	type sale struct {
		Product, Shopper string
		At               time.Time
	}
	counts := make(map[time.Time]map[string]int)
	times := make(map[string][]time.Time)
	for _, m := range in {
		var s sale
		decode(t, m, &s)
		minute := s.At.Truncate(time.Minute)
		if counts[minute] == nil {
			counts[minute] = make(map[string]int)
		}
		counts[minute][s.Product]++
		times[s.Shopper] = append(times[s.Shopper], s.At)
	}
	want := make(map[string]int)
	for minute, byProduct := range counts {
		names := make([]string, 0, len(byProduct))
		for p := range byProduct {
			names = append(names, p)
		}
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(byProduct[b]-byProduct[a], cmp.Compare(a, b)) })
		for i, p := range names[:min(3, len(names))] {
			want[fmt.Sprint(minute.Format(time.RFC3339), " ", i+1, " ", p)] = byProduct[p]
		}
	}
	for shopper, ts := range times {
		slices.SortFunc(ts, time.Time.Compare)
		for from := 0; from < len(ts); {
			to := from + 1
			for to < len(ts) && ts[to].Sub(ts[to-1]) <= 30*time.Minute {
				to++
			}
			want[fmt.Sprint(shopper, " ", ts[from].Format(time.RFC3339), " ", ts[to-1].Add(30*time.Minute).Format(time.RFC3339))] = to - from
			from = to
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var r struct {
			Minute, Start, End time.Time
			Product, Shopper   string
			N, Rank, Sales     int
		}
		if decode(t, m, &r); m.topic == "best" {
			got[fmt.Sprint(r.Minute.Format(time.RFC3339), " ", r.Rank, " ", r.Product)] += r.N
		} else {
			got[fmt.Sprint(r.Shopper, " ", r.Start.Format(time.RFC3339), " ", r.End.Format(time.RFC3339))] += r.Sales
		}
	}
	equal(t, got, want)
}

// fraudInput: profiles come first, together with some transactions.
func fraudInput(rng *rand.Rand) (in []message, half int) {
	cities := []string{"OSLO", "ROME", "LIMA"}
	transaction := func(i int) {
		tx := map[string]any{
			"transaction_id": fmt.Sprint("T", i), "user_id": fmt.Sprint("U", rng.IntN(60)), "amount": float64(rng.IntN(10_500)) + 0.5,
			"location": cities[rng.IntN(3)], "ts": at(2 * i),
		}
		in = append(in, jsonMessage("transactions", int32(i%2), "", tx))
	}
	for i := range 50 { // ten users have none
		key := fmt.Sprint("U", i)
		in = append(in, jsonMessage("user-profiles", int32(i%2), key, map[string]any{"locations": cities[rng.IntN(2):2]}))
	}
	for i := range 400 {
		transaction(i)
	}
	half = len(in)
	for i := range 1600 {
		transaction(400 + i)
	}
	return in, half
}

// checkFraud: a transaction that came together with the profiles may not have
// met its own; all others have.
func checkFraud(t *testing.T, in, out []message) {
	type transaction struct {
		ID       string `json:"transaction_id"`
		User     string `json:"user_id"`
		Amount   float64
		Location string
		TS       time.Time
	}
	known := make(map[string][]string)
	perWindow := make(map[string]int)
	want := make(map[string]int)
	early := make(map[string]bool)
	n := 0
	for _, m := range in {
		if m.topic == "user-profiles" {
			var p struct{ Locations []string }
			decode(t, m, &p)
			known[string(m.key)] = p.Locations
			continue
		}
		var tx transaction
		decode(t, m, &tx)
		if tx.Amount > 10_000 {
			want[fmt.Sprint("amount ", tx.User, " ", tx.ID)] = 1
		}
		if n++; n <= 400 {
			early[tx.ID] = true
		} else if !slices.Contains(known[tx.User], tx.Location) {
			want[fmt.Sprint("location ", tx.User, " ", tx.ID)] = 1
		}
		perWindow[fmt.Sprint(tx.User, " ", tx.TS.Truncate(5*time.Minute).Format(time.RFC3339))]++
	}
	for id, n := range perWindow {
		if n > 3 {
			want["frequency "+id] = 1
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var a struct {
			Rule    string
			User    string `json:"user_id"`
			Subject string
		}
		if decode(t, m, &a); string(m.key) != a.User {
			t.Errorf("alert %s has key %q", m.value, m.key)
		}
		if a.Rule != "location" || !early[a.Subject] {
			got[fmt.Sprint(a.Rule, " ", a.User, " ", a.Subject)]++
		}
	}
	equal(t, got, want)
}
