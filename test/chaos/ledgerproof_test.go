//go:build e2e

package chaos

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/leatstream/leat/test/proof"
)

// TestLedgerProofSeesFaults: the proof accepts the ideal ledger and no other.
func TestLedgerProofSeesFaults(t *testing.T) {
	in := proof.Generate(5, 3000, time.Hour)
	if paymentsOf(in).Len() < 1000 {
		t.Fatalf("only %d payments", paymentsOf(in).Len())
	}
	var ideal []proof.Committed
	for e := range wantLedger(in) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		ideal = append(ideal, proof.Committed{Value: b})
	}
	if err := judgeLedger(in, ideal); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]proof.Committed{
		"lost":    ideal[1:],
		"doubled": append(ideal[:len(ideal):len(ideal)], ideal[7]),
		"wrong":   append(ideal[:len(ideal):len(ideal)], proof.Committed{Value: []byte(`{"kind":"unpaid","id":"ORD-99999999","cents":0}`)}),
	} {
		if judgeLedger(in, got) == nil {
			t.Errorf("%s entry was not seen", name)
		}
	}
}
