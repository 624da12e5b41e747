package statetest

import (
	"bytes"
	"maps"
	"testing"

	"github.com/leatstream/leat/state"
)

// The reference is held to the contract, too.
func TestReference(t *testing.T) {
	t.Parallel()
	Run(t, NewReference)
}

func TestReferenceTTL(t *testing.T) {
	t.Parallel()
	RunTTL(t, NewReference)
}

func TestReferenceMigration(t *testing.T) {
	t.Parallel()
	RunMigration(t, NewReference)
}

// The golden file is what the first version wrote: the same handles, filled
// the same, must still hold what it holds.
func TestGoldenFileIsThatOfTheOldTypes(t *testing.T) {
	t.Parallel()
	old, now := NewReference(whole(), suiteGroups), NewReference(whole(), suiteGroups)
	for b, file := range map[state.Backend][]byte{old: handlesV1, now: fileV1(t, NewReference, 0)} {
		if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := old.(*Reference), now.(*Reference)
	for i, tab := range a.tables {
		if tab.d != b.tables[i].d || !maps.EqualFunc(tab.vals, b.tables[i].vals, bytes.Equal) || tab.Len() != b.tables[i].Len() {
			t.Errorf("table %+v is %+v now, or holds other bytes", tab.d, b.tables[i].d)
		}
	}
	if len(a.tables) != 7 {
		t.Errorf("%d tables in the file", len(a.tables))
	}
}
