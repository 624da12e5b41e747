// Package bound keeps how far event time has come for each key group of an
// operator: up to there its results are final. A watermark is the subtask's
// and begins anew after a restore; what is kept here goes with the keys, also
// to another parallelism, so that nothing final is opened again.
package bound

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Bounds are the bounds of a subtask's key groups. It is used on the task's
// goroutine.
type Bounds struct {
	backend state.Backend
	groups  dataflow.KeyGroupRange
	name    string
	reached []int64 // by group, from groups.First
	most    int64   // max of reached
	least   int64   // min of reached
	written int64   // of the last Raise
}

// Open reads the bounds that the state holds under a name, which is part of
// the state's format: 8 bytes, little-endian, for each key group. Those of a
// drained savepoint are forgotten: all had come to its end there, and time
// starts anew for what comes after.
func Open(ctx *operators.Context, name string) (*Bounds, error) {
	b := ctx.State
	x := &Bounds{backend: b, groups: b.KeyGroups(), name: name, most: dataflow.TimeMin, least: dataflow.TimeMax, written: dataflow.TimeMin}
	x.reached = make([]int64, x.groups.Len())
	for i := range x.reached {
		t, err := x.read(x.groups.First + dataflow.KeyGroup(i))
		if err != nil {
			return nil, err
		}
		if t == dataflow.TimeMax && ctx.FromSavepoint {
			t = dataflow.TimeMin
			b.SetGroupValue(name, x.groups.First+dataflow.KeyGroup(i), nil)
		}
		x.reached[i] = t
		x.most, x.least = max(x.most, t), min(x.least, t)
	}
	return x, nil
}

func (x *Bounds) read(g dataflow.KeyGroup) (int64, error) {
	v := x.backend.GroupValue(x.name, g)
	switch {
	case v == nil:
		return dataflow.TimeMin, nil
	case len(v) != 8:
		return 0, fmt.Errorf("state %q of key group %d has %d bytes, want 8", x.name, g, len(v))
	}
	return int64(binary.LittleEndian.Uint64(v)), nil
}

// Of returns the bound of the key group of a key's hash.
func (x *Bounds) Of(hash uint64) int64 {
	return x.reached[int(dataflow.KeyGroupOf(hash, x.backend.MaxParallelism()))-int(x.groups.First)]
}

// Most is the greatest bound: from a watermark of as much on, all are behind it.
func (x *Bounds) Most() int64 { return x.most }

// Least is the least bound.
func (x *Bounds) Least() int64 { return x.least }

// Written is what Raise was last called with, dataflow.TimeMin before.
func (x *Bounds) Written() int64 { return x.written }

// Raise writes that all key groups have come to wm at least.
func (x *Bounds) Raise(wm int64) {
	var v [8]byte
	binary.LittleEndian.PutUint64(v[:], uint64(wm))
	for i, t := range x.reached {
		if t < wm {
			x.reached[i] = wm
			x.backend.SetGroupValue(x.name, x.groups.First+dataflow.KeyGroup(i), v[:])
		}
	}
	x.most, x.least = max(x.most, wm), max(x.least, wm)
	x.written = wm
}
