package jobmaster

import (
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/scheduler"
)

// effects follows whether side effects of the latest committed checkpoint may
// be unconfirmed: then a job does not end before they are.
type effects struct {
	transactional bool // some sink takes part in two-phase commit
	unconfirmed   bool
	told          bool // what the scheduler knows

	active      dataflow.CheckpointID // checkpoint under way
	committable int64                 // prepared in it
	latest      dataflow.CheckpointID // committed
	workers     map[string]dataflow.CheckpointID
}

func (e *effects) attemptStarted(workers []scheduler.Worker) {
	e.workers = make(map[string]dataflow.CheckpointID, len(workers))
	for _, w := range workers {
		e.workers[w.ID] = 0
	}
}

func (e *effects) triggered(id dataflow.CheckpointID) { e.active, e.committable = id, 0 }

func (e *effects) acked(id dataflow.CheckpointID, committables int64) {
	if id == e.active {
		e.committable += committables
	}
}

// committed notes a commit. What the job ends with is confirmed in any case:
// the end is told only when all workers have nothing left to do.
func (e *effects) committed(id dataflow.CheckpointID, ending bool) {
	e.latest = id
	if e.committable > 0 || ending {
		e.unconfirmed = true
	}
}

func (e *effects) confirmed(worker string, id dataflow.CheckpointID) {
	if last, ok := e.workers[worker]; ok {
		e.workers[worker] = max(last, id)
	}
	for _, upTo := range e.workers {
		if upTo < e.latest {
			return
		}
	}
	if len(e.workers) > 0 {
		e.unconfirmed = false
	}
}

// pending also counts a commit that is under way.
func (e *effects) pending(settled bool) bool {
	return e.unconfirmed || !settled && e.committable > 0
}

// tellEffects tells the scheduler when the answer has changed.
func (c *Core) tellEffects() {
	settled := c.coord == nil || c.coord.Settled()
	if p := c.effects.pending(settled); p != c.effects.told {
		c.effects.told = p
		c.push(scheduler.Effects{Pending: p})
	}
}
