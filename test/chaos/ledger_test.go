//go:build e2e

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/leatstream/leat/test/proof"
)

// What the job in ./job does, said again for the proof.
const (
	bucketSize = 100
	// paymentAfter is how long after its order each payment is made.
	paymentAfterMillis = 1000
)

// paid says whether an order has a payment: half of those that are late under
// no interleaving have.
func paid(r *proof.Record) bool { return r.Kind == proof.Plain && r.ID%2 == 0 }

// paymentsOf returns the payments in the order of their orders. They are as
// little out of order as those, so none is ever late.
func paymentsOf(in *proof.Input) *proof.Input {
	out := &proof.Input{Seed: in.Seed, Start: in.Start}
	for p, recs := range in.Partitions {
		for i := range recs {
			if !paid(&recs[i]) {
				continue
			}
			at := recs[i].Millis + paymentAfterMillis
			out.Partitions[p] = append(out.Partitions[p], proof.Record{
				ID: recs[i].ID, Millis: at,
				Value: fmt.Appendf(nil, `{"order_id":"ORD-%08d","ts":%d}`, recs[i].ID, at),
			})
		}
	}
	return out
}

// entry is a record of the ledger.
type entry struct {
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

// wantLedger is the dumb reference: each valid order is paid or unpaid once,
// and each hundred of them told once.
func wantLedger(in *proof.Input) map[entry]bool {
	want := make(map[entry]bool)
	for _, recs := range in.Partitions {
		for i := range recs {
			r := &recs[i]
			if r.Kind == proof.Poison || r.Kind == proof.Invalid {
				continue
			}
			id := fmt.Sprintf("ORD-%08d", r.ID)
			if paid(r) {
				want[entry{"paid", id, r.Cents}] = true
			} else {
				want[entry{Kind: "unpaid", ID: id}] = true
			}
			want[entry{Kind: "bucket", ID: strconv.Itoa(r.ID / bucketSize)}] = true
		}
	}
	return want
}

const faultsMax = 10

// checkLedger compares what is committed with the reference.
func checkLedger(ctx context.Context, brokers, topic string, in *proof.Input) error {
	got, err := proof.ReadCommitted(ctx, brokers, topic)
	if err != nil {
		return err
	}
	return judgeLedger(in, got)
}

func judgeLedger(in *proof.Input, got []proof.Committed) error {
	want := wantLedger(in)
	seen := make(map[entry]int)
	var faults []string
	for _, c := range got {
		var e entry
		if err := json.Unmarshal(c.Value, &e); err != nil {
			return fmt.Errorf("ledger entry %q: %w", c.Value, err)
		}
		seen[e]++
		switch {
		case !want[e]:
			faults = append(faults, fmt.Sprintf("%+v is wrong", e))
		case seen[e] > 1:
			faults = append(faults, fmt.Sprintf("%+v was committed %d times", e, seen[e]))
		}
	}
	for e := range want {
		if seen[e] == 0 {
			faults = append(faults, fmt.Sprintf("%+v is missing", e))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%d faults in the ledger: %s", len(faults), strings.Join(faults[:min(len(faults), faultsMax)], "; "))
}
