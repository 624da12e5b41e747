package dispatcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// archiveVersion is the version of archive.json.
const archiveVersion = 1

// archive is what is kept of a job that has ended, in the object store.
type archive struct {
	Version int         `json:"version"`
	Job     jobview.Job `json:"job"`
}

func archiveKey(j *job) string { return jobPrefix(j.id) + "archive.json" }

// archive stores the last view of a job, for later leaders, and makes room.
// It is for people's eyes: without it the record still tells how it ended.
func (d *Dispatcher) archive(ctx context.Context, j *job) {
	v := d.view(j, true)
	v.Plan = nil // the graph is stored beside it
	b, err := json.Marshal(archive{Version: archiveVersion, Job: v})
	if err == nil {
		err = d.cfg.Store.Put(ctx, archiveKey(j), bytes.NewReader(b), int64(len(b)))
	}
	if err != nil {
		d.cfg.Log.Warn("history of a job not stored", "job", j.id, "error", err)
	}
	d.mu.Lock()
	old := d.oldestEndedLocked()
	d.mu.Unlock()
	for _, o := range old {
		if err := d.remove(ctx, o); err != nil {
			d.cfg.Log.Warn("old job not removed", "job", o.id, "error", err)
		}
	}
}

// loadArchive reads the last view of a job that ended under a former leader.
func (d *Dispatcher) loadArchive(ctx context.Context, j *job) {
	b, err := d.readObject(ctx, archiveKey(j))
	var a archive
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err == nil && a.Version != archiveVersion {
		err = fmt.Errorf("version %d, this release reads %d", a.Version, archiveVersion)
	}
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			d.cfg.Log.Warn("history of a job cannot be read", "job", j.id, "error", err)
		}
		return
	}
	v := a.Job
	d.mu.Lock()
	rec := j.record
	d.mu.Unlock()
	// The record is what holds.
	v.State, v.StateReason, v.Ended = rec.State, rec.Reason, jobmaster.Time(rec.Ended)
	if rec.Graph != "" {
		if g, err := d.readObject(ctx, rec.Graph); err == nil {
			if plan, err := buildPlan(g, rec.Parallelism); err == nil {
				v.Plan = plan
			}
		}
	}
	d.mu.Lock()
	j.archived = &v
	d.mu.Unlock()
}

// remove forgets a job that has ended: its record, then its objects, except
// savepoints, which belong to people.
func (d *Dispatcher) remove(ctx context.Context, j *job) error {
	defer func() {
		d.mu.Lock()
		delete(d.removing, j.id)
		d.mu.Unlock()
	}()
	err := d.journal.Commit(ctx, []ha.Write{{Key: jobmaster.RecordKey(j.id)}, {Key: jobmaster.PointerKey(j.id)}})
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.jobs, j.id)
	if s := d.submits[j.record.RequestID]; s != nil && s.id == j.id {
		delete(d.submits, j.record.RequestID)
	}
	d.mu.Unlock()
	var keys []string
	for info, err := range d.cfg.Store.List(ctx, jobPrefix(j.id)) {
		if err != nil {
			return err
		}
		if !strings.HasPrefix(info.Key, jobPrefix(j.id)+savepointDir) {
			keys = append(keys, info.Key)
		}
	}
	return d.cfg.Store.Delete(ctx, keys...)
}
