package cepop

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// takenName names the value kept for each key group: the watermark up to
// which rows of that group have been taken, 8 bytes little-endian.
const takenName = "pattern-taken"

// bounds keeps for each key group how far its rows had been taken at the last
// checkpoint. After a restore the watermark begins anew; rows that come again
// behind what was taken are late, also at another parallelism.
type bounds struct {
	backend state.Backend
	groups  dataflow.KeyGroupRange
	taken   []int64 // by group, from groups.First
	most    int64
}

func openBounds(b state.Backend) (*bounds, error) {
	x := &bounds{backend: b, groups: b.KeyGroups(), most: dataflow.TimeMin}
	x.taken = make([]int64, x.groups.Len())
	for i := range x.taken {
		x.taken[i] = dataflow.TimeMin
		g := x.groups.First + dataflow.KeyGroup(i)
		v := b.GroupValue(takenName, g)
		if v == nil {
			continue
		}
		if len(v) != 8 {
			return nil, fmt.Errorf("pattern state: bound of key group %d has %d bytes, want 8", g, len(v))
		}
		x.taken[i] = int64(binary.LittleEndian.Uint64(v))
		x.most = max(x.most, x.taken[i])
	}
	return x, nil
}

// of returns how far the group of a key had been taken.
func (x *bounds) of(hash uint64) int64 {
	if x.most == dataflow.TimeMin {
		return x.most
	}
	return x.taken[int(dataflow.KeyGroupOf(hash, x.backend.MaxParallelism()))-int(x.groups.First)]
}

// raise writes that all rows up to wm have been taken.
func (x *bounds) raise(wm int64) {
	var v [8]byte
	binary.LittleEndian.PutUint64(v[:], uint64(wm))
	for i, t := range x.taken {
		if t < wm {
			x.taken[i] = wm
			x.backend.SetGroupValue(takenName, x.groups.First+dataflow.KeyGroup(i), v[:])
		}
	}
	x.most = max(x.most, wm)
}
