package task

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/spool"
)

// recordOf makes a record of batches from bytes.
func recordOf(t testing.TB, data []byte) (record []byte, want []inFlightRows) {
	f := newInFlight(spool.New(""), 5)
	for i := 0; len(data) > 0; i++ {
		n := min(len(data), int(data[0])%40+1)
		e := &graph.Edge{From: "from", Output: fmt.Sprint("out", i%3), Input: i % 2}
		if err := f.add(e, i, data[:n]); err != nil {
			t.Fatal(err)
		}
		want = append(want, inFlightRows{operator: "from", output: e.Output, input: e.Input, from: i, to: 5, encoded: data[:n]})
		data = data[n:]
	}
	return slices.Clone(f.to.Bytes()), want
}

// FuzzInFlight: what is recorded is read, and anything else is an error or
// batches, never a panic.
func FuzzInFlight(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("some bytes that are cut into batches of their own lengths"))
	f.Add(bytes.Repeat([]byte{0, 255, 1, 128}, 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, want := recordOf(t, data)
		var got []inFlightRows
		if err := eachInFlight(record, func(r inFlightRows) error { got = append(got, r); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("read %v, want %v", got, want)
		}
		for _, raw := range [][]byte{data, append([]byte{inFlightVersion}, data...), record[:len(record)/2]} {
			_ = eachInFlight(raw, func(inFlightRows) error { return nil })
		}
	})
}
