package jobmaster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/fault"
	"github.com/leatstream/leat/runtime/ha"
)

// The pause between two tries of I/O grows from retryMin to retryMax; what
// is not the coordinator's to decide is tried until it works, or ctx ends.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// retry calls fn until it returns nil. delayed is told of each failure.
func (d *Driver) retry(ctx context.Context, fn func() error, delayed func(err error)) error {
	for pause := retryMin; ; pause = min(2*pause, retryMax) {
		err := fn()
		if err == nil || errors.Is(err, ha.ErrFenced) || ctx.Err() != nil {
			return err
		}
		delayed(err)
		t := d.cfg.Clock.NewTimer(pause)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// write carries out what goes to the coordination service.
func (d *Driver) write(ctx context.Context, cmd Command) {
	job := d.cfg.Core.Record.ID
	switch cmd := cmd.(type) {
	case WriteRecord:
		d.writeRecord(ctx, cmd)
	case MovePointer:
		d.answerPointer(cmd.ID, d.movePointer(ctx, cmd))
	case ReserveIDs:
		err := d.commitPointer(ctx, cmd.Pointer, nil)
		switch {
		case err == nil:
			d.answer(checkpoint.IDsReserved{Through: cmd.Through})
		case errors.Is(err, ha.ErrFenced):
			d.box.post(Fenced{})
		default:
			d.answer(checkpoint.ReserveFailed{Reason: err.Error()})
		}
	case ReadPointer:
		p, err := ReadStoredPointer(ctx, d.cfg.Journal, PointerKey(job))
		switch {
		case errors.Is(err, ha.ErrFenced):
			d.box.post(Fenced{})
		case err != nil:
			d.answer(checkpoint.PointerUnread{ID: cmd.ID, Reason: err.Error()})
		default:
			d.answer(checkpoint.PointerRead{ID: cmd.ID, Pointer: p})
		}
	}
}

func (d *Driver) answer(b checkpoint.Body) { d.box.post(Answer{Body: b}) }

// writeRecord writes until it is certain that the record is stored. Writing
// the same value again is harmless, so an unknown result is one more failure:
// the leader's commits are ordered, and nothing else writes the key.
func (d *Driver) writeRecord(ctx context.Context, cmd WriteRecord) {
	b, err := cmd.Record.Encode()
	if err != nil {
		d.cfg.Log.Error("record not written", "job", cmd.Record.ID, "error", err)
		return
	}
	key := RecordKey(cmd.Record.ID)
	err = d.retry(ctx, func() error {
		return d.cfg.Journal.Commit(ctx, []ha.Write{{Key: key, Value: b}})
	}, func(err error) {
		d.box.post(WriteDelayed{Reason: fmt.Sprintf("LEAT0503: the coordination service does not take the job's record: %v", err)})
	})
	switch {
	case err == nil:
		d.box.post(RecordWritten{Version: cmd.Version})
	case errors.Is(err, ha.ErrFenced):
		d.box.post(Fenced{})
	}
}

func (d *Driver) movePointer(ctx context.Context, cmd MovePointer) error {
	if err := fault.Hit(fault.JobmasterBeforePointer); err != nil {
		return err
	}
	if err := d.commitPointer(ctx, cmd.Pointer, cmd.Record); err != nil {
		return err
	}
	if err := fault.Hit(fault.JobmasterAfterPointer); err != nil {
		return fmt.Errorf("%w: %w", ha.ErrUnknown, err)
	}
	return nil
}

func (d *Driver) commitPointer(ctx context.Context, p checkpoint.Pointer, r *Record) error {
	b, err := p.Encode()
	if err != nil {
		return err
	}
	writes := []ha.Write{{Key: PointerKey(d.cfg.Core.Record.ID), Value: b}}
	if r != nil {
		rb, err := r.Encode()
		if err != nil {
			return err
		}
		writes = append(writes, ha.Write{Key: RecordKey(r.ID), Value: rb})
	}
	return d.cfg.Journal.Commit(ctx, writes)
}

func (d *Driver) answerPointer(id checkpointID, err error) {
	switch {
	case err == nil:
		d.answer(checkpoint.PointerMoved{ID: id})
	case errors.Is(err, ha.ErrFenced):
		d.box.post(Fenced{})
	case errors.Is(err, ha.ErrUnknown):
		d.answer(checkpoint.PointerUnknown{ID: id})
	default:
		d.answer(checkpoint.PointerFailed{ID: id, Reason: err.Error()})
	}
}

// ReadStoredPointer reads a job's checkpoint pointer; nil: there is none.
func ReadStoredPointer(ctx context.Context, j Journal, key string) (*checkpoint.Pointer, error) {
	all, err := j.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	b, ok := all[key]
	if !ok {
		return nil, nil
	}
	p, err := checkpoint.DecodePointer(b)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// access carries out what goes to the object store.
func (d *Driver) access(ctx context.Context, cmd Command) {
	switch cmd := cmd.(type) {
	case StoreGraph:
		err := d.retry(ctx, func() error { return d.files.put(ctx, cmd.Key, cmd.Graph) }, func(err error) {
			d.box.post(GraphDelayed{Reason: "LEAT0504: the object store does not take the job's graph: " + err.Error()})
		})
		if err == nil {
			d.box.post(GraphStored{})
		}
	case LoadManifest:
		d.loadManifest(ctx, cmd)
	case CopyState:
		d.copyState(ctx, cmd)
	case CopySavepoint:
		key, err := d.files.copySavepoint(ctx, cmd.Manifest, cmd.Target)
		done := SavepointCopied{Operation: cmd.Operation, Manifest: key}
		if err != nil {
			done.Failure = err.Error()
		}
		d.box.post(done)
	case WriteManifest:
		err := fault.Hit(fault.JobmasterBeforeManifest)
		if err == nil {
			_, err = manifest.Write(ctx, d.cfg.Store, cmd.Key, cmd.Manifest)
		}
		if err != nil {
			d.answer(checkpoint.ManifestFailed{ID: cmd.ID, Reason: err.Error()})
			return
		}
		d.answer(checkpoint.ManifestWritten{ID: cmd.ID})
	}
}

// copyState copies until all is there. An object that its manifest names and
// that is not there is lost: the store answers, it gave the manifest.
func (d *Driver) copyState(ctx context.Context, cmd CopyState) {
	var done Event = StateCopied{Attempt: cmd.Attempt}
	err := d.retry(ctx, func() error {
		err := d.files.copyAll(ctx, cmd.Objects)
		if errors.Is(err, store.ErrNotFound) {
			done = StateMissing{Attempt: cmd.Attempt, Reason: err.Error()}
			return nil
		}
		return err
	}, func(err error) {
		d.box.post(ManifestDelayed{Attempt: cmd.Attempt, Reason: "LEAT0504: cannot copy the savepoint's state: " + err.Error()})
	})
	if err == nil {
		d.box.post(done)
	}
}

// loadManifest reads until the store gives an answer about the manifest
// itself. "Not found" is not believed: the pointer says that it was written.
func (d *Driver) loadManifest(ctx context.Context, cmd LoadManifest) {
	var done Event
	err := d.retry(ctx, func() error {
		m, err := manifest.Read(ctx, d.cfg.Store, cmd.Key)
		var corrupt *manifest.CorruptError
		switch {
		case err == nil:
			done = ManifestLoaded{Attempt: cmd.Attempt, Manifest: m}
			return nil
		case errors.As(err, &corrupt), errors.Is(err, manifest.ErrVersion):
			done = ManifestBad{Attempt: cmd.Attempt, Reason: err.Error()}
			return nil
		default:
			return err
		}
	}, func(err error) {
		reason := "LEAT0504: cannot read the checkpoint to start from: "
		if errors.Is(err, store.ErrNotFound) {
			reason = "LEAT4212: the checkpoint to start from is not found: "
		}
		d.box.post(ManifestDelayed{Attempt: cmd.Attempt, Reason: reason + err.Error()})
	})
	if err == nil {
		d.box.post(done)
	}
}

// collect deletes objects; a fault leaves them to a later sweep.
func (d *Driver) collect(ctx context.Context, cmd Command) {
	var err error
	switch cmd := cmd.(type) {
	case Discard:
		err = d.files.discard(ctx, cmd.Discard)
	case Sweep:
		err = d.files.sweep(ctx, cmd.Sweep)
	}
	if err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("objects not deleted", "job", d.cfg.Core.Record.ID, "error", err)
	}
}
