package taskexec

import "maps"

// Stats is what can be seen of a taskmanager.
type Stats struct {
	Connected        bool
	Slots, SlotsUsed int
	Workers          []WorkerStats
	// Exits counts the workers that ended, by reason.
	Exits map[string]int64
}

// WorkerStats is what can be seen of a worker.
type WorkerStats struct {
	ID, Job, JobName        string
	MemoryBytes, ShareBytes int64
}

func (c *core) stats() Stats {
	s := Stats{Connected: c.leader.up, Slots: c.cfg.slots, SlotsUsed: c.slotsUsed(), Exits: maps.Clone(c.exits)}
	for _, id := range c.workerIDs() {
		w := c.workers[id]
		s.Workers = append(s.Workers, WorkerStats{
			ID: id, Job: w.start.GetJobId(), JobName: w.start.GetJobName(), MemoryBytes: w.memory, ShareBytes: w.share,
		})
	}
	return s
}

// Stats returns the figures of now; safe for concurrent use. After the end of
// Run they are zero.
func (e *Executor) Stats() Stats {
	answer := make(chan Stats, 1)
	if !e.post(func() { answer <- e.core.stats() }) {
		return Stats{}
	}
	select {
	case s := <-answer:
		return s
	case <-e.stopped:
		return Stats{}
	}
}
