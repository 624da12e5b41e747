//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/leatstream/leat/test/proof"
)

// readers compares what three clients read of the revenue topic with
// read_committed: franz-go, Java's console consumer and librdkafka.
func readers(t *testing.T, x *run) {
	t.Helper()
	want, err := proof.ReadCommitted(t.Context(), x.rig.Brokers(), x.topics.Revenue)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]int)
	for _, c := range want {
		rows[string(c.Value)]++
	}
	for _, reader := range x.rig.Readers() {
		values, err := reader.Read(t.Context(), x.topics.Revenue)
		if err != nil {
			t.Fatalf("%s: %v", reader.Name, err)
		}
		got := make(map[string]int)
		for _, v := range values {
			got[v]++
		}
		if !maps.Equal(rows, got) {
			t.Errorf("%s reads %d rows, franz-go %d: %s", reader.Name, len(values), len(want), difference(rows, got))
			continue
		}
		t.Logf("%s reads the same %d rows as franz-go", reader.Name, len(values))
	}
}

// difference names the first row that one has more often.
func difference(want, got map[string]int) string {
	for _, v := range slices.Sorted(maps.Keys(want)) {
		if got[v] != want[v] {
			return fmt.Sprintf("%s is there %d times, not %d", v, got[v], want[v])
		}
	}
	for _, v := range slices.Sorted(maps.Keys(got)) {
		if got[v] != want[v] {
			return fmt.Sprintf("%s is there %d times, not %d", v, got[v], want[v])
		}
	}
	return "none"
}
