//go:build e2e

package examples_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// asyncPrograms ask something outside.
func asyncPrograms() []program {
	return []program{{
		name: "asyncenrich", topics: map[string]int32{"visits": 2}, outputs: []string{"enriched", "refused"},
		input: func(rng *rand.Rand) (in []message, half int) {
			for i := range 3000 {
				user := fmt.Sprint("u", rng.IntN(300))
				if i%100 == 50 {
					user = ""
				}
				in = append(in, jsonMessage("visits", int32(i%2), "", map[string]any{"id": fmt.Sprint("v", i), "user": user, "at": at(i / 10)}))
			}
			return in, 1700
		},
		check: checkAsyncEnrich,
	}}
}

func checkAsyncEnrich(t *testing.T, in, out []message) {
	type visit struct{ ID, User string }
	want, got := make(map[string]string), make(map[string]string)
	for _, m := range in {
		var v visit
		decode(t, m, &v)
		sum := 0
		for _, c := range v.User {
			sum += int(c)
		}
		switch {
		case v.User == "":
			want[v.ID] = "users have names"
		case sum%3 == 0:
			want[v.ID] = ""
		default:
			want[v.ID] = []string{"FI", "NZ", "PE", "UY"}[sum%4]
		}
	}
	for _, m := range out {
		var id, text string
		if m.topic == "refused" {
			var r struct{ Visit, Error string }
			var v visit
			decode(t, m, &r)
			decode(t, message{topic: m.topic, value: []byte(r.Visit)}, &v)
			id, text = v.ID, r.Error
		} else {
			var e struct {
				Visit   visit
				Country string
			}
			decode(t, m, &e)
			id, text = e.Visit.ID, e.Country
		}
		if _, twice := got[id]; twice {
			t.Errorf("%s came twice", m.value)
		}
		got[id] = text
	}
	equal(t, got, want)
}
