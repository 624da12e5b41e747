package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/leatstream/leat/test/proof"
)

// checkpointsMin is how many commits the run must have.
const checkpointsMin = 10

// watcher follows the job, kills a worker between two commits, and returns
// when the job has finished.
type watcher struct {
	cluster *cluster
	in      *proof.Input
	topics  proof.Topics
	killAt  time.Duration

	began    time.Time
	killed   bool
	restored bool
	spoken   time.Time
}

// jobView is what the watcher needs of `job get`.
type jobView struct {
	State    string
	Attempt  int64
	Restarts int
	Vertices []struct {
		Name    string
		Metrics struct {
			Write int64 `json:"write-records"`
		}
	}
}

type checkpointView struct {
	ID     int64
	Status string
}

func (w *watcher) follow(ctx context.Context) error {
	w.began = time.Now()
	for {
		var j jobView
		if err := w.cluster.query(ctx, &j, "job", "get", "orders"); err != nil {
			return err
		}
		var cps []checkpointView
		if err := w.cluster.query(ctx, &cps, "checkpoint", "list", "orders"); err != nil {
			return err
		}
		last := newest(cps)
		switch j.State {
		case "FINISHED":
			return w.finished(j, last)
		case "FAILED", "CANCELED":
			_ = w.cluster.flinkctl(ctx, nil, "job", "exceptions", "orders", "-v")
			return fmt.Errorf("the job ended %s", j.State)
		}
		w.progress(j, last)
		if !w.killed && time.Since(w.began) > w.killAt && last >= 3 && j.State == "RUNNING" {
			if err := w.kill(ctx, last); err != nil {
				return err
			}
		}
		if w.killed && !w.restored && j.Attempt > 1 && j.State == "RUNNING" {
			w.restored = true
			say("the job runs again: attempt %d", j.Attempt)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// newest returns the number of the newest completed checkpoint.
func newest(cps []checkpointView) int64 {
	for _, c := range cps {
		if c.Status == "COMPLETED" {
			return c.ID
		}
	}
	return 0
}

func (w *watcher) progress(j jobView, last int64) {
	if time.Since(w.spoken) < time.Second {
		return
	}
	w.spoken = time.Now()
	read := int64(0)
	if len(j.Vertices) > 0 {
		read = j.Vertices[0].Metrics.Write
	}
	say("%5.1f s  %-10s checkpoint %-3d records out of the source in this attempt: %d", time.Since(w.began).Seconds(), j.State, last, read)
}

// kill ends one worker with SIGKILL right after a commit, so that the next
// one has not begun to be made final, and with input left.
func (w *watcher) kill(ctx context.Context, last int64) error {
	committed, err := proof.GroupOffsets(ctx, w.cluster.kafka, "orders-job", w.topics.Orders)
	if err != nil {
		return err
	}
	var tms []struct {
		ID      string
		Workers []struct {
			ID  string
			PID int
		}
	}
	if err := w.cluster.query(ctx, &tms, "taskmanager", "list"); err != nil {
		return err
	}
	for _, tm := range tms {
		if len(tm.Workers) > 0 {
			wk := tm.Workers[0]
			if err := syscall.Kill(wk.PID, syscall.SIGKILL); err != nil {
				return fmt.Errorf("kill -9 %d: %w", wk.PID, err)
			}
			w.killed = true
			say("kill -9 %d (worker %s on %s) after checkpoint %d: committed offset %d of %d", wk.PID, wk.ID, tm.ID, last, committed, w.in.Len())
			if committed <= 0 || committed >= int64(w.in.Len()) {
				return fmt.Errorf("the kill was to hit between two commits with input left, but the committed offset is %d of %d", committed, w.in.Len())
			}
			return nil
		}
	}
	return fmt.Errorf("no worker runs that could be killed")
}

func (w *watcher) finished(j jobView, last int64) error {
	say("the job has finished after %.1f s, %d restarts, last checkpoint %d", time.Since(w.began).Seconds(), j.Restarts, last)
	switch {
	case !w.killed:
		return fmt.Errorf("the job finished before a worker was killed: use more --orders or a longer --pace")
	case j.Restarts == 0:
		return fmt.Errorf("a worker was killed, but the job has not restarted")
	case last < checkpointsMin:
		return fmt.Errorf("the run had %d checkpoints, not %d: use a longer --pace", last, checkpointsMin)
	}
	return nil
}
