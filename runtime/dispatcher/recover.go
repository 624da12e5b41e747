package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// Pauses between tries to read what a former leader left.
const (
	recoverMin = 100 * time.Millisecond
	recoverMax = 5 * time.Second
)

// recover reads all jobs: those that have ended are kept as archive, the
// others go on from their latest checkpoint.
func (d *Dispatcher) recover(ctx context.Context) error {
	var stored map[string][]byte
	err := d.retry(ctx, func() error {
		var err error
		stored, err = d.cfg.Leadership.Load(ctx, jobmaster.KeyPrefix)
		return err
	}, func(err error) { d.cfg.Log.Warn("jobs cannot be read yet", "error", err) })
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		id, rest, ok := jobmaster.JobOfKey(key)
		if !ok || rest != "record" {
			continue
		}
		rec, err := jobmaster.DecodeRecord(stored[key])
		if err != nil {
			// Never dropped, never started anew: a person has to look at it.
			d.cfg.Log.Error("job cannot be read and is left alone", "job", id, "error", err)
			continue
		}
		d.recoverLocked(ctx, rec, stored[jobmaster.PointerKey(id)])
	}
	close(d.ready)
	for _, id := range slices.Sorted(maps.Keys(d.tms)) {
		d.judgeLocked(d.tms[id])
	}
	d.cfg.Log.Info("leads", "epoch", d.cfg.Leadership.Epoch(), "jobs", len(d.jobs))
	return nil
}

// recoverLocked enters one job; what takes time happens on its goroutine.
func (d *Dispatcher) recoverLocked(ctx context.Context, rec *jobmaster.Record, pointer []byte) {
	j := &job{id: rec.ID, record: *rec, ended: rec.State.Terminal(), reason: "a new leader reads its state", attachable: rec.Attachable()}
	d.jobs[rec.ID] = j
	if rec.RequestID != "" {
		s := &submission{done: make(chan struct{}), id: rec.ID}
		close(s.done)
		d.submits[rec.RequestID] = s
	}
	d.wg.Go(func() {
		if j.ended {
			d.loadArchive(ctx, j)
			return
		}
		d.resume(ctx, j, pointer)
	})
}

// resume reads what the job needs from the store, then runs it. What cannot
// be read is tried again, for as long as it takes: there is no start from an
// older state, nor from nothing.
func (d *Dispatcher) resume(ctx context.Context, j *job, pointer []byte) {
	var rec checkpoint.Recovered
	var graph []byte
	waits := func(err error) {
		d.mu.Lock()
		j.reason = "a new leader cannot read its state: " + err.Error()
		d.mu.Unlock()
		d.cfg.Log.Warn("job waits to be recovered", "job", j.id, "error", err)
	}
	err := d.retry(ctx, func() error {
		if d.hasEnded(j) {
			return nil
		}
		var err error
		if rec, err = d.readPointer(ctx, pointer); err != nil {
			return err
		}
		if j.record.Graph == "" {
			return nil
		}
		graph, err = d.readObject(ctx, j.record.Graph)
		return err
	}, waits)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || j.ended {
		return
	}
	if err := d.startLocked(j, rec, graph); err != nil {
		j.reason = "it cannot be recovered: " + err.Error()
		d.cfg.Log.Error("job cannot be recovered and is left alone", "job", j.id, "error", err)
	}
}

func (d *Dispatcher) hasEnded(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return j.ended
}

// cancelUnrecovered ends a job of which a new leader cannot read what it needs
// to run or to settle it.
func (d *Dispatcher) cancelUnrecovered(ctx context.Context, j *job) error {
	d.mu.Lock()
	rec := j.record
	rec.State, rec.Ended, rec.Workers = jobview.JobCanceled, d.timeMillis(), nil
	rec.Reason = "canceled before it was recovered, side effects of its last checkpoint may be unconfirmed"
	if j.reason != "" {
		rec.Reason += "; " + j.reason
	}
	d.mu.Unlock()
	if err := d.commitUntilKnown(ctx, &rec); err != nil {
		return err
	}
	for _, stop := range d.endUnrecovered(j, rec) {
		stop()
	}
	return nil
}

// endUnrecovered enters the end, and returns the orders to end what runs.
func (d *Dispatcher) endUnrecovered(j *job, rec jobmaster.Record) (stops []func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.driver != nil {
		// It was recovered meanwhile: its driver ends it, and its record.
		j.driver.Post(jobmaster.CancelJob{})
		return nil
	}
	j.record, j.ended, j.attachable = rec, true, nil
	for _, id := range slices.Sorted(maps.Keys(d.tms)) {
		stops = append(stops, d.disinheritLocked(d.tms[id], j.id)...)
	}
	return stops
}

// readPointer reads the manifests of what the pointer names; one that cannot
// be read now is left out, and its objects are kept.
func (d *Dispatcher) readPointer(ctx context.Context, b []byte) (checkpoint.Recovered, error) {
	var rec checkpoint.Recovered
	if b == nil {
		return rec, nil
	}
	p, err := checkpoint.DecodePointer(b)
	if err != nil {
		return rec, err
	}
	rec.Pointer = p
	for _, e := range p.Retained {
		m, err := manifest.Read(ctx, d.cfg.Store, e.Manifest)
		if err != nil {
			d.cfg.Log.Warn("retained checkpoint cannot be read now", "checkpoint", e.ID, "error", err)
			continue
		}
		rec.Completed = append(rec.Completed, checkpoint.CompletedOf(e, m))
	}
	return rec, nil
}

// objectMax bounds the graphs and archives that are read into memory.
const objectMax = 256 << 20

func (d *Dispatcher) readObject(ctx context.Context, key string) (b []byte, err error) {
	r, err := d.cfg.Store.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err = io.ReadAll(io.LimitReader(r, objectMax+1))
	if err == nil && len(b) > objectMax {
		err = fmt.Errorf("object %s has more than %d bytes", key, objectMax)
	}
	return b, err
}

// retry calls fn until it works, ctx ends or the leadership is lost.
func (d *Dispatcher) retry(ctx context.Context, fn func() error, waits func(error)) error {
	for pause := recoverMin; ; pause = min(2*pause, recoverMax) {
		err := fn()
		if err == nil || errors.Is(err, ha.ErrFenced) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		waits(err)
		t := d.cfg.Clock.NewTimer(pause)
		select {
		case <-t.C():
		case <-d.cfg.Leadership.Done():
			t.Stop()
			return errOver
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// oldestEndedLocked returns the ended jobs beyond the limit, oldest first.
func (d *Dispatcher) oldestEndedLocked() []*job {
	var ended []*job
	for id, j := range d.jobs {
		if _, busy := d.removing[id]; j.ended && !busy {
			ended = append(ended, j)
		}
	}
	if len(ended) <= JobsEndedMax {
		return nil
	}
	slices.SortFunc(ended, func(a, b *job) int { return a.endedAt().Compare(b.endedAt()) })
	ended = ended[:len(ended)-JobsEndedMax]
	for _, j := range ended {
		d.removing[j.id] = struct{}{}
	}
	return ended
}

// jobPrefix is where the job's objects lie.
func jobPrefix(id dataflow.JobID) string { return jobmaster.ObjectPrefix(id) }
