//go:build e2e

package examples_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	hybridHistory    = 6000 // orders in files, of the first that the topic has
	hybridPartitions = 2
	hybridPerFile    = 700
)

// hybridPrograms read files first and a topic from where these end.
func hybridPrograms() []program {
	return []program{{
		name: "hybrid", args: []string{"--history", "s3://" + bucketName + "/hybrid/orders-*.jsonl"},
		topics: map[string]int32{"orders": hybridPartitions}, outputs: []string{"revenue"},
		input: func(rng *rand.Rand) (in []message, half int) {
			for i := range hybridHistory + 3000 {
				o := map[string]any{
					"region": []string{"EU", "US", "AP"}[rng.IntN(3)],
					"amount": float64(100+rng.IntN(50_000)) / 100, "at": at(3*i + rng.IntN(120)),
				}
				in = append(in, jsonMessage("orders", int32(i%hybridPartitions), "", o))
			}
			return in, hybridHistory + 1300
		},
		before: writeHistory,
		early:  true,
		check:  checkHybrid,
	}}
}

// writeHistory puts what the topic begins with into files, some for each
// partition: a job that read the topic from its beginning would count it twice.
func writeHistory(t *testing.T, c *cluster, in []message) {
	t.Helper()
	dir := filepath.Join(c.bucket, "hybrid")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var text [hybridPartitions][]byte
	var offsets [hybridPartitions]int
	end := func(p int32) {
		name := filepath.Join(dir, fmt.Sprintf("orders-%d-%d.jsonl", p, offsets[p]))
		if err := os.WriteFile(name, text[p], 0o600); err != nil {
			t.Fatal(err)
		}
		text[p] = nil
	}
	for _, m := range in[:hybridHistory] {
		p := m.partition
		text[p] = append(append(text[p], m.value...), '\n')
		if offsets[p]++; offsets[p]%hybridPerFile == 0 {
			end(p)
		}
	}
	for p := range int32(hybridPartitions) {
		if len(text[p]) > 0 {
			end(p)
		}
	}
}

// checkHybrid wants each order once: in one hour of its region.
func checkHybrid(t *testing.T, in, out []message) {
	type sum struct {
		orders int
		cents  int64
	}
	cents := func(amount float64) int64 { return int64(amount*100 + 0.5) }
	want, got := make(map[string]sum), make(map[string]sum)
	for _, m := range in {
		var o struct {
			Region string
			Amount float64
			At     time.Time
		}
		decode(t, m, &o)
		key := o.Region + " " + o.At.UTC().Format("2006-01-02T15")
		s := want[key]
		want[key] = sum{s.orders + 1, s.cents + cents(o.Amount)}
	}
	for _, m := range out {
		var r struct {
			Region string
			Hour   time.Time
			Orders int
			Sum    float64
		}
		decode(t, m, &r)
		key := r.Region + " " + r.Hour.UTC().Format("2006-01-02T15")
		if _, twice := got[key]; twice {
			t.Errorf("%s has two results", key)
		}
		got[key] = sum{r.Orders, cents(r.Sum)}
	}
	equal(t, got, want)
}
