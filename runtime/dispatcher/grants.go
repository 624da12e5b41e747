package dispatcher

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/slots"
)

// waiter is a job that waits for slots.
type waiter struct {
	job    dataflow.JobID
	n      int
	keeps  bool   // what it holds is not given back meanwhile
	reason string // last one told
}

// AcquireSlots implements jobmaster.Cluster.
func (d *Dispatcher) AcquireSlots(job dataflow.JobID, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetWaiterLocked(job)
	d.waiting = append(d.waiting, waiter{job: job, n: n})
	d.grantLocked()
}

// ReleaseSlots implements jobmaster.Cluster.
func (d *Dispatcher) ReleaseSlots(job dataflow.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetWaiterLocked(job)
	d.pool.Release(job)
	d.grantLocked()
}

// ReserveSlots implements jobmaster.Cluster.
func (d *Dispatcher) ReserveSlots(job dataflow.JobID, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetWaiterLocked(job)
	d.waiting = append(d.waiting, waiter{job: job, n: n, keeps: true})
	d.grantLocked()
}

// KeepSlots implements jobmaster.Cluster.
func (d *Dispatcher) KeepSlots(job dataflow.JobID, shares []slots.Share) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetWaiterLocked(job)
	d.pool.Keep(job, shares)
	d.grantLocked()
}

// Disown implements jobmaster.Cluster.
func (d *Dispatcher) Disown(job dataflow.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[job]; j != nil {
		j.attachable = nil
	}
}

func (d *Dispatcher) forgetWaiterLocked(job dataflow.JobID) {
	d.waiting = slices.DeleteFunc(d.waiting, func(w waiter) bool { return w.job == job })
}

// grantLocked gives slots to the jobs that wait, the one that waits longest
// first; a later one that fits goes before one that does not. It is called
// after every change of the pool.
func (d *Dispatcher) grantLocked() {
	for again := true; again; {
		again = false
		var still []waiter
		for _, w := range d.waiting {
			j := d.jobs[w.job]
			if j == nil || !j.live() {
				continue
			}
			if w.keeps {
				if d.reserveLocked(j, &w) {
					continue
				}
				still = append(still, w)
				continue
			}
			free := d.pool.Free()
			shares, short := d.pool.Acquire(w.job, w.n)
			// A job that waits, or needs fewer than before, gives back what it
			// held: those before it in the queue may fit now.
			again = again || d.pool.Free() > free
			if short == nil {
				j.driver.Post(jobmaster.SlotsGranted{Shares: shares})
				continue
			}
			if reason := short.String() + d.holdersLocked(w.job); reason != w.reason {
				w.reason = reason
				j.driver.Post(jobmaster.SlotsShort{Reason: reason})
			}
			still = append(still, w)
		}
		d.waiting = still
	}
	d.shareOutLocked()
}

// FollowSlots implements jobmaster.Cluster.
func (d *Dispatcher) FollowSlots(job dataflow.JobID, on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[job]; j != nil {
		j.follows, j.told = on, 0
		d.shareOutLocked()
	}
}

// shareOutLocked tells each job whose parallelism follows the slots how many
// it may have: those that no other job holds or waits for, in even shares, at
// least one. What is left over goes to the oldest.
func (d *Dispatcher) shareOutLocked() {
	room := d.pool.Total()
	var following []*job
	for _, j := range d.liveLocked() {
		if j.follows {
			following = append(following, j)
			continue
		}
		for _, s := range d.pool.Held(j.id) {
			room -= s.Slots
		}
	}
	if len(following) == 0 || d.pool.Total() == 0 {
		return
	}
	for _, w := range d.waiting {
		if j := d.jobs[w.job]; j == nil || j.follows {
			continue
		}
		held := 0
		for _, s := range d.pool.Held(w.job) {
			held += s.Slots
		}
		room -= max(0, w.n-held)
	}
	slices.SortFunc(following, func(a, b *job) int {
		return cmp.Or(cmp.Compare(a.record.Submitted, b.record.Submitted), cmp.Compare(a.id, b.id))
	})
	for i, j := range following {
		share := max(1, room/len(following))
		if room > 0 && i < room%len(following) && room >= len(following) {
			share++
		}
		if share != j.told {
			j.told = share
			j.driver.Post(jobmaster.AutoSlots{N: share})
		}
	}
}

// reserveLocked reports whether the slots are there; else the job is told what
// is missing.
func (d *Dispatcher) reserveLocked(j *job, w *waiter) bool {
	short := d.pool.Reserve(w.job, w.n)
	if short == nil {
		j.driver.Post(jobmaster.SlotsReserved{})
		return true
	}
	if reason := short.String() + d.holdersLocked(w.job); reason != w.reason {
		w.reason = reason
		j.driver.Post(jobmaster.ReserveShort{Reason: reason})
	}
	return false
}

// holdersMax bounds the jobs named to one that waits.
const holdersMax = 3

// holdersLocked names the jobs that hold most slots.
func (d *Dispatcher) holdersLocked(except dataflow.JobID) string {
	type holder struct {
		name string
		n    int
	}
	var all []holder
	for id, j := range d.jobs {
		n := 0
		for _, s := range d.pool.Held(id) {
			n += s.Slots
		}
		if n > 0 && id != except {
			all = append(all, holder{j.name(), n})
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.SortFunc(all, func(a, b holder) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	var names []string
	for _, h := range all[:min(len(all), holdersMax)] {
		names = append(names, fmt.Sprintf("%s %d", h.name, h.n))
	}
	if len(all) > holdersMax {
		names = append(names, fmt.Sprintf("%d others", len(all)-holdersMax))
	}
	return "; in use by " + strings.Join(names, ", ")
}
