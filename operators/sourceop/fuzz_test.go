package sourceop

import (
	"bytes"
	"testing"

	"github.com/leatstream/leat/connectors"
)

func FuzzDecodeSplits(f *testing.F) {
	f.Add(encodeSplits(nil))
	f.Add(encodeSplits([]savedSplit{{Split: connectors.Split{ID: "orders-3", Position: []byte{1, 2}}, Watermark: -5}}))
	f.Add([]byte{snapshotVersion, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		splits, err := decodeSplits(b)
		if err != nil {
			return
		}
		again, err := decodeSplits(encodeSplits(splits))
		if err != nil || len(again) != len(splits) {
			t.Fatalf("%v decoded to %v, error %v", splits, again, err)
		}
		for i, s := range splits {
			if a := again[i]; a.ID != s.ID || a.Watermark != s.Watermark || !bytes.Equal(a.Position, s.Position) {
				t.Fatalf("split %+v became %+v", s, a)
			}
		}
	})
}
