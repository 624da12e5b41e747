package sinkop

import (
	"testing"

	"github.com/leatstream/leat/connectors"
)

func FuzzDecodeSealed(f *testing.F) {
	f.Add(encodeSealed(nil))
	f.Add(encodeSealed([]sealed{{id: 7, items: []connectors.Committable{{Owner: 3, Data: []byte("txn")}, {}}}, {id: 9}}))
	f.Add([]byte{snapshotVersion, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := decodeSealed(b)
		if err != nil {
			return
		}
		again, err := decodeSealed(encodeSealed(all))
		if err != nil || len(again) != len(all) {
			t.Fatalf("%v decoded to %v, error %v", all, again, err)
		}
	})
}
