package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// savepointDir begins the directories of a job's savepoints.
const savepointDir = "savepoint-"

// Savepoints implements jobview.Control: the newest first. They are found in
// the store, so also those of former leaders.
func (d *Dispatcher) Savepoints(ctx context.Context, id dataflow.JobID) ([]jobview.Checkpoint, error) {
	if _, err := d.find(id); err != nil {
		return nil, err
	}
	var out []jobview.Checkpoint
	for info, err := range d.cfg.Store.List(ctx, jobPrefix(id)+savepointDir) {
		if err != nil {
			return nil, errUnavailable(err.Error())
		}
		if path.Base(info.Key) != checkpoint.ManifestName {
			continue
		}
		c := jobview.Checkpoint{Savepoint: true, Status: "COMPLETED", Path: d.cfg.Store.URI(info.Key), Completed: info.Modified}
		m, err := manifest.Read(ctx, d.cfg.Store, info.Key)
		if err != nil {
			c.Status, c.Failure = "FAILED", err.Error()
		} else {
			fillSavepoint(&c, m)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b jobview.Checkpoint) int { return cmp.Compare(b.ID, a.ID) })
	return out, nil
}

func fillSavepoint(c *jobview.Checkpoint, m *checkpointv1.Manifest) {
	c.ID = dataflow.CheckpointID(m.GetCheckpointId())
	c.Triggered = time.UnixMilli(m.GetCreatedMillis())
	for _, o := range m.GetObjects() {
		c.Bytes += o.GetSize()
	}
	for _, o := range m.GetOperators() {
		c.Subtasks += int(o.GetParallelism())
	}
	c.Acked = c.Subtasks
}

// OpenSavepoint implements jobview.Control.
func (d *Dispatcher) OpenSavepoint(ctx context.Context, at string) (*savepoint.Snapshot, error) {
	m, _, err := d.readSavepoint(ctx, at)
	if err != nil {
		return nil, err
	}
	return savepoint.New(m, d.cfg.Store), nil
}

// DeleteSavepoint implements jobview.Control. A savepoint that a job would
// start or recover from is not deleted. In its job's own folder all goes that is
// there; elsewhere, where people may keep other things beside it, only what its
// manifest names.
func (d *Dispatcher) DeleteSavepoint(ctx context.Context, at string) (jobview.Freed, error) {
	m, key, err := d.readSavepoint(ctx, at)
	if err != nil {
		return jobview.Freed{}, err
	}
	if m.GetKind() != checkpointv1.Kind_KIND_SAVEPOINT {
		return jobview.Freed{}, invalid("LEAT4209", at+" is a checkpoint, not a savepoint", "checkpoints belong to their job, which deletes them itself")
	}
	dir := path.Dir(key) + "/"
	own := strings.HasPrefix(dir, jobPrefix(dataflow.JobID(m.GetJobId()))+savepointDir)
	listed := map[string]bool{key: true}
	for _, o := range m.GetObjects() {
		listed[o.GetKey()] = true
	}
	freed := jobview.Freed{}
	keys := []string{key} // first: what is left is then no savepoint any more
	for info, err := range d.cfg.Store.List(ctx, dir) {
		if err != nil {
			return jobview.Freed{}, errUnavailable(err.Error())
		}
		if !own && !listed[info.Key] {
			continue
		}
		freed.Objects++
		freed.Bytes += info.Size
		if info.Key != key {
			keys = append(keys, info.Key)
		}
	}
	if err := d.unneeded(ctx, key, keys); err != nil {
		return jobview.Freed{}, err
	}
	if err := d.cfg.Store.Delete(ctx, keys...); err != nil {
		return jobview.Freed{}, errUnavailable(err.Error())
	}
	return freed, nil
}

// need is a job that may read a savepoint.
type need struct {
	name    string
	id      dataflow.JobID
	started bool // from this savepoint
}

// unneeded checks that no job that lives would read the savepoint, and that no
// checkpoint which such a job keeps needs one of the objects.
func (d *Dispatcher) unneeded(ctx context.Context, key string, keys []string) error {
	d.mu.Lock()
	var needs []need
	for id, j := range d.jobs {
		own := strings.HasPrefix(key, jobPrefix(id))
		if !j.ended && (own || j.record.FromSavepoint == key) {
			needs = append(needs, need{j.name(), id, j.record.FromSavepoint == key})
		}
	}
	d.mu.Unlock()
	goes := make(map[string]bool, len(keys))
	for _, k := range keys {
		goes[k] = true
	}
	for _, n := range needs {
		p, err := jobmaster.ReadStoredPointer(ctx, d.journal, jobmaster.PointerKey(n.id))
		if err != nil {
			return errUnavailable(err.Error())
		}
		latest := p != nil && p.Latest != nil
		if latest && goes[p.Latest.Manifest] || n.started && !latest {
			return errNeeded(n.name, "it has no later checkpoint yet", "wait for its next checkpoint, or stop the job")
		}
		if p == nil {
			continue
		}
		for _, e := range p.Retained {
			needed, err := d.needs(ctx, e.Manifest, goes)
			if err != nil {
				return err
			}
			if needed {
				return errNeeded(n.name, fmt.Sprintf("its checkpoint %d has files there", e.ID), "wait until the job keeps only later ones, or stop it")
			}
		}
	}
	return nil
}

// needs reports whether a checkpoint is, or has an object, among those that go.
func (d *Dispatcher) needs(ctx context.Context, key string, goes map[string]bool) (bool, error) {
	if goes[key] {
		return true, nil
	}
	m, err := manifest.Read(ctx, d.cfg.Store, key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // the job has just let it go
	}
	if err != nil {
		return false, errUnavailable(err.Error())
	}
	return slices.ContainsFunc(m.GetObjects(), func(o *checkpointv1.Object) bool { return goes[o.GetKey()] }), nil
}

func errNeeded(job, why, fix string) *jobview.Error {
	return &jobview.Error{Code: "LEAT4210", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q recovers from this savepoint", job), Why: why, Fix: []string{fix}}
}

// PutBundle implements jobview.Control.
func (d *Dispatcher) PutBundle(ctx context.Context, name, file string) (jobview.Bundle, error) {
	b, err := d.cfg.Bundles.Put(ctx, name, file)
	if err != nil {
		e := coded(err, "LEAT1215", "the bundle was not stored")
		if len(e.Fix) == 0 {
			e.Fix = []string{"look at the jobmanager's object store: its address, its credentials and their rights, and the room that is left"}
		}
		return b, e
	}
	return b, nil
}

// Bundles implements jobview.Control.
func (d *Dispatcher) Bundles(ctx context.Context) ([]jobview.Bundle, error) {
	b, err := d.cfg.Bundles.List(ctx)
	if err != nil {
		return nil, coded(err, "LEAT1215", "the bundles cannot be listed")
	}
	return b, nil
}

// Bundle implements jobview.Control.
func (d *Dispatcher) Bundle(ctx context.Context, sha string) (jobview.Bundle, error) {
	b, err := d.cfg.Bundles.Get(ctx, sha)
	if err != nil {
		return b, coded(err, "LEAT1213", "the bundle cannot be read")
	}
	return b, nil
}

// DeleteBundle implements jobview.Control. A bundle that a job needs stays.
func (d *Dispatcher) DeleteBundle(ctx context.Context, sha string) error {
	d.mu.Lock()
	var user string
	for _, j := range d.jobs {
		if !j.ended && j.record.Bundle.SHA256 == sha {
			user = j.name()
		}
	}
	d.mu.Unlock()
	if user != "" {
		return &jobview.Error{Code: "LEAT1216", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q runs this bundle", user),
			Why: "its workers are started from it", Fix: []string{"stop the job first"}}
	}
	if err := d.cfg.Bundles.Delete(ctx, sha); err != nil {
		return coded(err, "LEAT1215", "the bundle was not deleted")
	}
	return nil
}
