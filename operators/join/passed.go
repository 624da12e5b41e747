package join

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// passedName names the value kept for each key group: the time that its rows
// have been joined up to, 8 bytes little-endian.
const passedName = "join-passed"

// passed keeps how far event time has come. After a restart the watermark of
// a subtask may be behind what a key group had reached: that group's rows are
// judged by the group, so that what was final stays final.
type passed struct {
	backend state.Backend
	groups  dataflow.KeyGroupRange
	restore []int64 // by group, from groups.First
	most    int64   // max of restore
	now     int64   // the watermark, less the grace
}

func openPassed(ctx *operators.Context) (*passed, error) {
	b := ctx.State
	p := &passed{backend: b, groups: b.KeyGroups(), most: dataflow.TimeMin, now: dataflow.TimeMin}
	p.restore = make([]int64, p.groups.Len())
	for i := range p.restore {
		p.restore[i] = dataflow.TimeMin
		v := b.GroupValue(passedName, p.groups.First+dataflow.KeyGroup(i))
		if v == nil {
			continue
		}
		if len(v) != 8 {
			return nil, fmt.Errorf("join state: the bound of key group %d has %d bytes, want 8", int(p.groups.First)+i, len(v))
		}
		t := int64(binary.LittleEndian.Uint64(v))
		if t == dataflow.TimeMax && ctx.FromSavepoint {
			continue // drained: time starts anew
		}
		p.restore[i] = t
		p.most = max(p.most, t)
	}
	return p, nil
}

// of returns the time up to which the group of a hash was joined.
func (p *passed) of(hash uint64) int64 {
	if p.now >= p.most {
		return p.now
	}
	g := dataflow.KeyGroupOf(hash, p.backend.MaxParallelism())
	return max(p.now, p.restore[int(g)-int(p.groups.First)])
}

// save writes the bounds into the state, before a snapshot of it.
func (p *passed) save() {
	var v [8]byte
	for i, t := range p.restore {
		if t = max(t, p.now); t > dataflow.TimeMin {
			binary.LittleEndian.PutUint64(v[:], uint64(t))
			p.backend.SetGroupValue(passedName, p.groups.First+dataflow.KeyGroup(i), v[:])
		}
	}
}
