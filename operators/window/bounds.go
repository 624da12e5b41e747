package window

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// firedName names the value kept for each key group: the watermark up to
// which windows of that group have fired, 8 bytes little-endian.
const firedName = "window-fired"

// bounds keeps for each key group how far its windows have fired. After a
// rescale groups of one subtask may differ, and all may be ahead of the
// watermark: a window that fired is never opened again.
type bounds struct {
	backend state.Backend
	groups  dataflow.KeyGroupRange
	fired   []int64 // by group, from groups.First
	most    int64   // max of fired
	least   int64   // min of fired
	written int64   // the watermark that was last persisted
}

func openBounds(b state.Backend) (*bounds, error) {
	x := &bounds{backend: b, groups: b.KeyGroups(), most: dataflow.TimeMin, least: dataflow.TimeMax, written: dataflow.TimeMin}
	x.fired = make([]int64, x.groups.Len())
	for i := range x.fired {
		x.fired[i] = dataflow.TimeMin
		g := x.groups.First + dataflow.KeyGroup(i)
		v := b.GroupValue(firedName, g)
		if v == nil {
			x.least = dataflow.TimeMin
			continue
		}
		if len(v) != 8 {
			return nil, fmt.Errorf("window state: fired bound of key group %d has %d bytes, want 8", g, len(v))
		}
		x.fired[i] = int64(binary.LittleEndian.Uint64(v))
		x.most, x.least = max(x.most, x.fired[i]), min(x.least, x.fired[i])
	}
	return x, nil
}

// of returns how far the group of a key has fired, going by the key's hash.
func (x *bounds) of(hash uint64) int64 {
	return x.fired[int(dataflow.KeyGroupOf(hash, x.backend.MaxParallelism()))-int(x.groups.First)]
}

// raise persists that all windows up to wm have fired.
func (x *bounds) raise(wm int64) {
	var v [8]byte
	binary.LittleEndian.PutUint64(v[:], uint64(wm))
	for i, f := range x.fired {
		if f < wm {
			x.fired[i] = wm
			x.backend.SetGroupValue(firedName, x.groups.First+dataflow.KeyGroup(i), v[:])
		}
	}
	x.most, x.least = max(x.most, wm), max(x.least, wm)
	x.written = wm
}
