package state_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// BenchmarkValue is a read and a write of a counter, with and without a TTL.
func BenchmarkValue(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		for name, opts := range map[string][]state.Option{
			"plain": nil,
			"ttl":   {state.WithTTL(state.TTL{After: time.Hour})},
			"event": {state.WithTTL(state.TTL{After: time.Hour, Time: state.EventTime})},
		} {
			b.Run(fmt.Sprintf("keys=%d/%s", n, name), func(b *testing.B) {
				k := keyed()
				k.Advance(1, dataflow.TimeMin, 0)
				v, err := state.NewValue[int64](k, "v", opts...)
				if err != nil {
					b.Fatal(err)
				}
				keys := make([]state.Key, n)
				for i := range keys {
					keys[i] = state.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15))
				}
				i, now := 0, int64(1)
				b.ReportAllocs()
				for b.Loop() {
					if i++; i%1024 == 0 {
						now++
						k.Advance(now, now, 1024)
					}
					k.SetKey(keys[i%n])
					x, _ := v.Get()
					v.Set(x + 1)
				}
			})
		}
	}
}
