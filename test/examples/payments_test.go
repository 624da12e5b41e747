//go:build e2e

package examples_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// paymentPrograms watch payments.
func paymentPrograms() []program {
	return []program{
		{
			name: "dedup", topics: map[string]int32{"payments": 2}, outputs: []string{"unique"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 2000 {
					n := i
					if rng.IntN(4) == 0 {
						n = max(0, i-rng.IntN(300))
					}
					p := map[string]any{"id": fmt.Sprint("P-", n), "amount": 1.5, "at": at(i)}
					in = append(in, jsonMessage("payments", int32(i%2), "", p))
				}
				return in, 900
			},
			check: func(t *testing.T, in, out []message) {
				equal(t, countBy(t, out, "id"), once(countBy(t, in, "id")))
			},
		},
		{
			name: "rules", topics: map[string]int32{"payments": 2, "rules": 1}, outputs: []string{"alarms"},
			input: rulesInput,
			check: checkRules,
		},
		{
			name: "payments", topics: map[string]int32{"orders": 2, "payments": 2}, outputs: []string{"orders.paid", "payments.late"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 800 {
					id := fmt.Sprintf("ORD-%06d", i)
					in = append(in, jsonMessage("orders", int32(i%2), "", map[string]any{"id": id, "cents": 100 + i, "at": at(10 * i)}))
					for range rng.IntN(3) {
						pay := map[string]any{"order": id, "cents": 50 + rng.IntN(9), "at": at(10*i + rng.IntN(400))}
						in = append(in, jsonMessage("payments", int32(rng.IntN(2)), "", pay))
					}
				}
				return in, len(in) / 2
			},
			check: checkPayments,
		},
		{
			name: "fraudcep", topics: map[string]int32{"transactions": 2}, outputs: []string{"fraud-alerts", "transactions.late"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 3000 {
					amount := []float64{1.5, 20, 900}[rng.IntN(3)]
					pay := map[string]any{
						"transaction_id": fmt.Sprintf("TX-%06d", i), "card": fmt.Sprint("CARD-", rng.IntN(40)), "amount": amount, "ts": at(i / 2),
					}
					in = append(in, jsonMessage("transactions", int32(i%2), "", pay))
				}
				return in, 1400
			},
			check: checkProbes,
		},
	}
}

// countBy counts messages by a text field.
func countBy(t *testing.T, ms []message, field string) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for _, m := range ms {
		var row map[string]any
		decode(t, m, &row)
		out[fmt.Sprint(row[field])]++
	}
	return out
}

func once(counts map[string]int) map[string]int {
	for k := range counts {
		counts[k] = 1
	}
	return counts
}

func rulesInput(rng *rand.Rand) (in []message, half int) {
	rule := func(name string, above int, off bool) {
		in = append(in, jsonMessage("rules", 0, "", map[string]any{"name": name, "above": above, "off": off}))
	}
	rule("large", 50_000, false)
	rule("huge", 90_000, false)
	for i := range 2000 {
		p := map[string]any{"id": i, "account": fmt.Sprint("A", rng.IntN(30)), "cents": 1 + rng.IntN(2500)}
		in = append(in, jsonMessage("payments", int32(i%2), "", p))
	}
	half = 1000
	rule("small", 20_000, false) // looks at what came before it, too
	return in, half
}

// checkRules: sums only grow, so every rule has raised one alarm for each
// account whose sum is above its limit in the end, whenever the rule came.
func checkRules(t *testing.T, in, out []message) {
	sums, limits := make(map[string]int), make(map[string]int)
	for _, m := range in {
		var row struct {
			Name, Account string
			Above, Cents  int
		}
		if decode(t, m, &row); m.topic == "rules" {
			limits[row.Name] = row.Above
		} else {
			sums[row.Account] += row.Cents
		}
	}
	want := make(map[string]int)
	for rule, above := range limits {
		for account, sum := range sums {
			if sum > above {
				want[rule+" "+account] = 1
			}
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var a struct {
			Rule, Account string
			Cents         int
		}
		if decode(t, m, &a); a.Cents <= limits[a.Rule] || a.Cents > sums[a.Account] {
			t.Errorf("alarm %s: the limit is %d, the sum in the end %d", m.value, limits[a.Rule], sums[a.Account])
		}
		got[a.Rule+" "+a.Account]++
	}
	equal(t, got, want)
}

// checkPayments: which payments are late is a fact of the run; all others
// within five minutes are joined, and orders without any expire.
func checkPayments(t *testing.T, in, out []message) {
	type payment struct {
		Order string
		Cents int
		At    time.Time
	}
	late := make(map[payment]int)
	got := make(map[string]int)
	for _, m := range out {
		if m.topic == "payments.late" {
			var p payment
			decode(t, m, &p)
			late[p]++
			continue
		}
		var paid struct {
			Order      string
			Cents      int
			AfterNanos time.Duration
			Expired    bool
		}
		decode(t, m, &paid)
		got[fmt.Sprint(paid.Order, " ", paid.Cents, " ", paid.AfterNanos, " ", paid.Expired)]++
	}
	ordered := make(map[string]time.Time)
	var payments []payment
	for _, m := range in {
		if m.topic == "orders" {
			var o struct {
				ID string
				At time.Time
			}
			decode(t, m, &o)
			ordered[o.ID] = o.At
			continue
		}
		var p payment
		if decode(t, m, &p); late[p] > 0 {
			late[p]--
			continue
		}
		payments = append(payments, p)
	}
	for p, n := range late {
		if n > 0 {
			t.Errorf("%v was late %d times more than it came", p, n)
		}
	}
	want := make(map[string]int)
	paid := make(map[string]bool)
	for _, p := range payments {
		if after := p.At.Sub(ordered[p.Order]); after >= 0 && after <= 5*time.Minute {
			want[fmt.Sprint(p.Order, " ", p.Cents, " ", after, " ", false)]++
			paid[p.Order] = true
		}
	}
	for id := range ordered {
		if !paid[id] {
			want[fmt.Sprint(id, " ", 0, " ", time.Duration(0), " ", true)]++
		}
	}
	equal(t, got, want)
}

// checkProbes finds two or more small payments and a large one within a
// minute, with loops over the payments of each card.
func checkProbes(t *testing.T, in, out []message) {
	type payment struct {
		ID     string `json:"transaction_id"`
		Card   string
		Amount json.Number
		TS     time.Time
	}
	var all []payment
	for _, m := range in {
		var p payment
		decode(t, m, &p)
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b payment) int {
		return cmp.Or(cmp.Compare(a.Card, b.Card), a.TS.Compare(b.TS), cmp.Compare(a.ID, b.ID))
	})
	want := make(map[string]int)
	for i := 0; i < len(all); i++ {
		if all[i].Amount != "1.5" {
			continue
		}
		var small []string
		for j := i; j < len(all) && all[j].Card == all[i].Card && all[j].TS.Sub(all[i].TS) < time.Minute; j++ {
			if all[j].Amount == "1.5" {
				small = append(small, all[j].ID)
			} else if all[j].Amount == "900" && len(small) > 1 {
				want[fmt.Sprint(all[i].Card, " ", small, " ", all[j].ID)]++
				i = j
				break
			}
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var a struct {
			Card, Large string
			Small       []string
		}
		if m.topic != "fraud-alerts" {
			t.Errorf("%s: nothing is late here", m.value)
			continue
		}
		decode(t, m, &a)
		got[fmt.Sprint(a.Card, " ", a.Small, " ", a.Large)]++
	}
	equal(t, got, want)
}
