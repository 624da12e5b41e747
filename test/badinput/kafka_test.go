package badinput_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/test/proof"
)

// write writes the rows from (included) to end (excluded) into topic in.
func write(t *testing.T, brokers string, from, end int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	for i := from; i < end; i++ {
		recs = append(recs, &kgo.Record{Topic: "in", Value: fmt.Appendf(nil, `{"N":%d,"Key":0,"Sum":0}`, i)})
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// wantCopied reads topic out as committed: each row once.
func wantCopied(t *testing.T, brokers string, n int64) {
	t.Helper()
	recs, err := proof.ReadCommitted(t.Context(), brokers, "out")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]int{}
	for _, r := range recs {
		var x row
		if err := json.Unmarshal(r.Value, &x); err != nil {
			t.Fatal(err)
		}
		seen[x.N]++
	}
	for i := range n {
		if seen[i] != 1 {
			t.Errorf("row %d was committed %d times", i, seen[i])
		}
	}
}
