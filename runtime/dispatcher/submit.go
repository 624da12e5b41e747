package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// submission is one request id's; repeated requests wait for the first.
type submission struct {
	done chan struct{}
	id   dataflow.JobID // set before done is closed
	err  error
}

// Submit implements jobview.Control. The job is accepted once it is recorded;
// whether its program can be planned shows later. A repeated RequestID
// returns the first one's job, also after a change of the leader.
func (d *Dispatcher) Submit(ctx context.Context, s jobview.Submission) (dataflow.JobID, error) {
	if err := d.awaitReady(ctx); err != nil {
		return "", err
	}
	if s.RequestID == "" {
		return d.submit(ctx, s)
	}
	d.mu.Lock()
	first := d.submits[s.RequestID]
	if first == nil {
		first = &submission{done: make(chan struct{})}
		d.submits[s.RequestID] = first
		d.mu.Unlock()
		first.id, first.err = d.submit(ctx, s)
		d.mu.Lock()
		if first.err != nil && d.submits[s.RequestID] == first {
			delete(d.submits, s.RequestID)
		}
		d.mu.Unlock()
		close(first.done)
		return first.id, first.err
	}
	d.mu.Unlock()
	select {
	case <-first.done:
		return first.id, first.err
	case <-ctx.Done():
		return "", errUnavailable(ctx.Err().Error())
	}
}

func (d *Dispatcher) submit(ctx context.Context, s jobview.Submission) (dataflow.JobID, error) {
	s, err := d.like(s)
	if err != nil {
		return "", err
	}
	if s.Auto && s.Parallelism != 0 {
		return "", invalid("LEAT2004", fmt.Sprintf("parallelism is both %d and auto", s.Parallelism), "give one of them")
	}
	if s.Parallelism < 0 || s.Parallelism > dataflow.MaxParallelismLimit {
		return "", invalid("LEAT2004", fmt.Sprintf("parallelism %d is not between 1 and %d", s.Parallelism, dataflow.MaxParallelismLimit), "")
	}
	rec, err := d.newRecord(ctx, s)
	if err != nil {
		return "", err
	}
	if err := d.admissible(s.RequestID); err != nil {
		var known *knownJob
		if errors.As(err, &known) {
			return known.id, nil
		}
		return "", err
	}
	if err := d.commitUntilKnown(ctx, rec); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return "", errUnavailable("the leadership has ended; the job was accepted and the next leader runs it")
	}
	j := &job{id: rec.ID, record: *rec}
	d.jobs[rec.ID] = j
	if err := d.startLocked(j, checkpoint.Recovered{}, nil); err != nil {
		return "", coded(err, "LEAT2005", "the job cannot be started")
	}
	return rec.ID, nil
}

// like fills what a submission takes from that of another job.
func (d *Dispatcher) like(s jobview.Submission) (jobview.Submission, error) {
	if s.Like == "" {
		return s, nil
	}
	j, err := d.find(s.Like)
	if err != nil {
		return s, err
	}
	d.mu.Lock()
	r, name, driver := j.record, j.name(), j.driver
	d.mu.Unlock()
	if driver != nil { // it may have been rescaled since
		r = driver.Record()
	}
	s.Name = cmp.Or(s.Name, name)
	if s.Parallelism == 0 && !s.Auto {
		if s.Auto = r.Auto; !s.Auto {
			s.Parallelism = r.Parallelism
		}
		s.Operators = r.Operators
	}
	if len(s.Args) == 0 {
		s.Args = r.Inputs.Args
	}
	s.Properties = over(r.Inputs.Properties, s.Properties)
	s.Environment = over(r.Inputs.Environment, s.Environment)
	return s, nil
}

// over returns what is in either, that of top where it is in both.
func over(base, top map[string]string) map[string]string {
	if len(base) == 0 {
		return top
	}
	out := maps.Clone(base)
	maps.Copy(out, top)
	return out
}

// knownJob says that a request was made before.
type knownJob struct{ id dataflow.JobID }

// Error implements error.
func (k *knownJob) Error() string { return "the request was made before: job " + string(k.id) }

func (d *Dispatcher) admissible(requestID string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return errUnavailable("the leadership is just changing")
	}
	live := 0
	for _, j := range d.jobs {
		if requestID != "" && j.record.RequestID == requestID {
			return &knownJob{j.id}
		}
		if !j.ended {
			live++
		}
	}
	if live >= JobsMax {
		return errUnavailable(fmt.Sprintf("%d jobs run or wait already", live))
	}
	return nil
}

// newRecord checks what can be checked before the program is planned.
func (d *Dispatcher) newRecord(ctx context.Context, s jobview.Submission) (*jobmaster.Record, error) {
	b, err := d.cfg.Bundles.Get(ctx, s.BundleSHA)
	if err != nil {
		return nil, coded(err, "LEAT1213", "the bundle cannot be read")
	}
	ref, err := d.cfg.Bundles.Ref(ctx, s.BundleSHA)
	if err != nil {
		return nil, coded(err, "LEAT1213", "the bundle cannot be read")
	}
	id := dataflow.NewJobID()
	rec := &jobmaster.Record{
		ID: id, Name: cmp.Or(s.Name, b.JobName, string(id[:8])), Named: s.Name != "", RequestID: s.RequestID,
		Bundle:      jobmaster.Bundle{SHA256: ref.GetSha256(), Key: ref.GetKey(), Size: ref.GetSize()},
		Inputs:      jobmaster.Inputs{Args: s.Args, Properties: s.Properties, Environment: s.Environment},
		Parallelism: s.Parallelism, Auto: s.Auto, Operators: s.Operators, AllowDrained: s.AllowDrained, DropState: s.DropState,
		Submitted: d.timeMillis(), Incarnation: dataflow.NewIncarnation(),
	}
	if s.FromSavepoint != "" {
		m, key, err := d.readSavepoint(ctx, s.FromSavepoint)
		if err != nil {
			return nil, err
		}
		rules := jobmaster.RestoreRules{Foreign: true, AllowDrained: s.AllowDrained, DropState: s.DropState, Where: s.FromSavepoint}
		if err := jobmaster.CheckSavepoint(m, rules); err != nil {
			return nil, err
		}
		rec.FromSavepoint = key
	}
	return rec, nil
}

// commitUntilKnown writes the record until it is certain whether it is
// stored.
func (d *Dispatcher) commitUntilKnown(ctx context.Context, rec *jobmaster.Record) error {
	b, err := rec.Encode()
	if err != nil {
		return coded(err, "LEAT2005", "the job cannot be recorded")
	}
	for {
		err := d.journal.Commit(ctx, []ha.Write{{Key: jobmaster.RecordKey(rec.ID), Value: b}})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ha.ErrFenced):
			return errUnavailable("the leadership has ended")
		case !errors.Is(err, ha.ErrUnknown):
			return errUnavailable("the coordination service does not take the job's record: " + err.Error())
		}
		// Unknown: the same write again is harmless, and tells.
		t := d.cfg.Clock.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C():
		case <-d.journal.ended:
			t.Stop()
			return errUnavailable("whether the job was accepted is not known: the leadership has ended")
		case <-ctx.Done():
			t.Stop()
			return errUnavailable("whether the job was accepted is not known: " + ctx.Err().Error())
		}
	}
}

// keyOf returns the object key of a path that a person gave: a key, or the
// URI of an object in this cluster's store.
func (d *Dispatcher) keyOf(path string) (string, error) {
	const probe = "x"
	base := strings.TrimSuffix(d.cfg.Store.URI(probe), probe)
	if key, ok := strings.CutPrefix(path, base); ok && base != "" {
		return strings.Trim(key, "/"), nil
	}
	if strings.Contains(path, "://") {
		return "", invalid("LEAT4207", fmt.Sprintf("%s is not in this cluster's storage", path), "its storage is "+base,
			"copy the directory there first: a savepoint can be moved as a whole")
	}
	return strings.Trim(path, "/"), nil
}

// readSavepoint reads the manifest at a path, or in the directory there.
func (d *Dispatcher) readSavepoint(ctx context.Context, path string) (*checkpointv1.Manifest, string, error) {
	key, err := d.keyOf(path)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasSuffix(key, "/"+checkpoint.ManifestName) {
		key += "/" + checkpoint.ManifestName
	}
	m, err := manifest.Read(ctx, d.cfg.Store, key)
	var corrupt *manifest.CorruptError
	switch {
	case err == nil:
		return m, key, nil
	case errors.Is(err, store.ErrNotFound):
		return nil, "", &jobview.Error{Code: "LEAT4208", Kind: jobview.KindNotFound, What: "no savepoint at " + path,
			Why: "there is no object " + d.cfg.Store.URI(key), Fix: []string{"flinkctl savepoint list"}}
	case errors.As(err, &corrupt), errors.Is(err, manifest.ErrVersion):
		return nil, "", invalid("LEAT4205", "the savepoint at "+path+" cannot be read", err.Error(),
			"start from another savepoint or a retained checkpoint of the job", "or bring the object back from a copy of the storage")
	default:
		return nil, "", errUnavailable(err.Error())
	}
}

// targetOf returns the directory for a savepoint as a key with a final slash;
// "" is the job's own place.
func (d *Dispatcher) targetOf(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	key, err := d.keyOf(path)
	if err != nil || key == "" {
		return "", err
	}
	return key + "/", nil
}
