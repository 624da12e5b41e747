package timer

import (
	"encoding/binary"
	"testing"

	"github.com/leatstream/leat/state"
)

// BenchmarkRegisterAndFire is a timer for each of many keys, spread over time,
// with a watermark for each 1,000 records.
func BenchmarkRegisterAndFire(b *testing.B) {
	s := service(b, backend(0, 1), frontMax)
	fired := 0
	fire := func(state.Key, int64, int64) error { fired++; return nil }
	keys := make([]state.Key, 100_000)
	for i := range keys {
		keys[i] = state.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.RegisterEvent(keys[i%len(keys)], 0, int64(i+30_000))
		if i++; i%1000 == 0 {
			if _, err := s.AdvanceEvent(int64(i), fire, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(fired)/float64(b.N), "fired/op")
}
