// Package slots is the slot pool of a cluster: which taskmanager offers how
// many slots and which job holds them. It is pure: it knows no time, network
// or goroutine, and equal calls give equal answers. It does not know what
// runs in a slot.
package slots

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/dataflow"
)

// Strategy says how the slots of a job are spread over taskmanagers.
type Strategy int

// Strategies.
const (
	// Fill takes as few taskmanagers as it can, the default: one worker
	// process serves all slots of a job on a taskmanager, so fewer
	// taskmanagers mean fewer processes, more exchanges by reference inside a
	// worker, and fewer machines whose loss hurts the job.
	Fill Strategy = iota
	// Spread gives each taskmanager an even share.
	Spread
)

// Share is what a job holds on one taskmanager.
type Share struct {
	TaskManager string
	Slots       int
}

// Shortage says why slots were not granted: a job gets all or nothing, so
// that two jobs never wait for each other's halves.
type Shortage struct {
	Needed, Free, Total, TaskManagers int
}

// String tells people what is missing.
func (s Shortage) String() string {
	if s.TaskManagers == 0 {
		return fmt.Sprintf("needs %d, no taskmanager is registered", s.Needed)
	}
	return fmt.Sprintf("needs %d, %d are free (%d taskmanagers with %d slots)", s.Needed, s.Free, s.TaskManagers, s.Total)
}

// Pool is the slot pool. It is not safe for concurrent use.
//
// Invariant: for each taskmanager, sum of held slots <= slots offered.
type Pool struct {
	strategy Strategy
	tms      map[string]*offer
}

type offer struct {
	id    string
	slots int
	held  map[dataflow.JobID]int
	// draining: none of its slots is given any more, and those that are held
	// do not count.
	draining bool
}

func (o *offer) free() int {
	if o.draining {
		return 0
	}
	n := o.slots
	for _, h := range o.held {
		n -= h
	}
	return n
}

// New returns an empty pool.
func New(s Strategy) *Pool { return &Pool{strategy: s, tms: make(map[string]*offer)} }

// Add offers n slots of a taskmanager, replacing what it offered before; the
// id must not hold slots (Remove it first).
func (p *Pool) Add(id string, n int) {
	p.tms[id] = &offer{id: id, slots: max(0, n), held: make(map[dataflow.JobID]int)}
}

// Reserve makes the job hold n slots in all, or reports the shortage and
// changes nothing: what it holds stays as it is, also if that is more.
func (p *Pool) Reserve(job dataflow.JobID, n int) *Shortage {
	held := p.lasting(job)
	if n-held > p.Free() {
		return &Shortage{Needed: n, Free: p.Free() + held, Total: p.Total(), TaskManagers: len(p.tms)}
	}
	for need := n - held; need > 0; {
		o, k := p.pick(job, need)
		o.held[job] += k
		need -= k
	}
	return nil
}

// lasting is the number of slots that the job holds on taskmanagers that stay.
func (p *Pool) lasting(job dataflow.JobID) int {
	n := 0
	for _, o := range p.tms {
		if !o.draining {
			n += o.held[job]
		}
	}
	return n
}

// Drain gives no slot of a taskmanager any more; those that are held there stay
// so until they are given back, and are counted nowhere else.
func (p *Pool) Drain(id string) {
	if o := p.tms[id]; o != nil {
		o.draining = true
	}
}

// Room is the number of slots that the job holds or could have, on
// taskmanagers that stay.
func (p *Pool) Room(job dataflow.JobID) int { return p.lasting(job) + p.Free() }

// Keep gives back all slots of the job but these, which it holds.
func (p *Pool) Keep(job dataflow.JobID, shares []Share) {
	kept := make(map[string]int)
	for _, s := range shares {
		kept[s.TaskManager] += s.Slots
	}
	for id, o := range p.tms {
		if n := min(o.held[job], kept[id]); n > 0 {
			o.held[job] = n
		} else {
			delete(o.held, job)
		}
	}
}

// Hold gives a job n more slots of one taskmanager: those that its workers use
// already. It holds fewer when there are not as many.
func (p *Pool) Hold(job dataflow.JobID, id string, n int) {
	if o := p.tms[id]; o != nil {
		o.held[job] += min(max(0, n), o.free())
	}
}

// Remove takes a taskmanager out of the pool and returns the jobs that held
// slots on it, in order of their ids.
func (p *Pool) Remove(id string) []dataflow.JobID {
	o := p.tms[id]
	if o == nil {
		return nil
	}
	delete(p.tms, id)
	return slices.Sorted(maps.Keys(o.held))
}

// Acquire gives the job n slots: what it holds already counts, more is added
// or given back. Without enough free slots it gives back all that the job
// holds and reports the shortage.
func (p *Pool) Acquire(job dataflow.JobID, n int) ([]Share, *Shortage) {
	for _, o := range p.tms {
		if o.draining {
			delete(o.held, job)
		}
	}
	held := p.lasting(job)
	if n-held > p.Free() {
		p.Release(job)
		return nil, &Shortage{Needed: n, Free: p.Free(), Total: p.Total(), TaskManagers: len(p.tms)}
	}
	if held > n {
		// Starting over is simpler than choosing what to give back, and packs
		// the job again.
		p.Release(job)
		held = 0
	}
	for need := n - held; need > 0; {
		o, k := p.pick(job, need)
		o.held[job] += k
		need -= k
	}
	return p.Held(job), nil
}

// pick chooses the next taskmanager for need more slots of the job.
func (p *Pool) pick(job dataflow.JobID, need int) (*offer, int) {
	var best *offer
	for _, o := range p.sorted() {
		if o.free() == 0 {
			continue
		}
		if best == nil || p.better(o, best, job, need) {
			best = o
		}
	}
	if p.strategy == Spread {
		return best, 1
	}
	return best, min(need, best.free())
}

// better reports whether a is to be preferred to b; ties go to the lower id.
func (p *Pool) better(a, b *offer, job dataflow.JobID, need int) bool {
	if p.strategy == Spread {
		// Fewest of this job first, then the one with most room.
		return cmp.Or(cmp.Compare(a.held[job], b.held[job]), cmp.Compare(b.free(), a.free())) < 0
	}
	// Where the job is already, then the tightest that takes all, then the
	// one with most room.
	if x, y := a.held[job] > 0, b.held[job] > 0; x != y {
		return x
	}
	fitA, fitB := a.free() >= need, b.free() >= need
	switch {
	case fitA && fitB:
		return a.free() < b.free()
	case fitA || fitB:
		return fitA
	default:
		return a.free() > b.free()
	}
}

func (p *Pool) sorted() []*offer {
	return slices.SortedFunc(maps.Values(p.tms), func(a, b *offer) int { return cmp.Compare(a.id, b.id) })
}

// Held returns the job's slots in order of taskmanager.
func (p *Pool) Held(job dataflow.JobID) []Share {
	var out []Share
	for _, o := range p.sorted() {
		if n := o.held[job]; n > 0 {
			out = append(out, Share{TaskManager: o.id, Slots: n})
		}
	}
	return out
}

// Release gives back all slots of a job. It is idempotent.
func (p *Pool) Release(job dataflow.JobID) {
	for _, o := range p.tms {
		delete(o.held, job)
	}
}

// Total is the number of slots offered, without those of taskmanagers that
// drain.
func (p *Pool) Total() int {
	n := 0
	for _, o := range p.tms {
		if !o.draining {
			n += o.slots
		}
	}
	return n
}

// Free is the number of slots not held.
func (p *Pool) Free() int {
	n := 0
	for _, o := range p.tms {
		n += o.free()
	}
	return n
}

// FreeOn is the number of slots not held on one taskmanager, 0 when unknown.
func (p *Pool) FreeOn(id string) int {
	if o := p.tms[id]; o != nil {
		return o.free()
	}
	return 0
}

// TaskManagers returns the ids of the taskmanagers in the pool, sorted.
func (p *Pool) TaskManagers() []string { return slices.Sorted(maps.Keys(p.tms)) }
