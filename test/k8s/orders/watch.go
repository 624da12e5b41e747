package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/test/proof"
)

const (
	// silenceMax bounds how long no jobmanager may lead after one was killed.
	silenceMax = time.Minute
	// checkpointsMin is how many checkpoints there are before each disturbance.
	checkpointsMin = 3
)

// watcher follows the job and deletes a pod of a taskmanager once a third of
// the input was written, and the leader's once two thirds were.
type watcher struct {
	options
	client *restapi.Client
	name   string
	in     *proof.Input
	topics proof.Topics

	began, spoken   time.Time
	id              string
	killedTM        time.Time
	attempt         int64 // when the taskmanager was killed
	back            bool  // the job runs again after that
	checkpointAfter int64 // newest when the job came back
	killedJM        time.Time
	leader          string // the killed one
	epoch           int64
	succeeded       bool // another leads
}

func (w *watcher) follow(ctx context.Context) error {
	lost := time.Time{}
	for {
		done, err := w.step(ctx)
		switch {
		case done:
			return err
		case err == nil:
			lost = time.Time{}
		case !tolerable(err) || w.killedJM.IsZero():
			return err
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > silenceMax:
			return fmt.Errorf("no jobmanager has answered for %s: %w", silenceMax, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// tolerable reports whether an answer is one that clients see between leaders.
func tolerable(err error) bool {
	var e *restapi.Error
	return errors.Is(err, restapi.ErrUnreachable) || errors.As(err, &e) && e.Status == 503
}

// step looks once, disturbs when it is time, and reports whether all is done.
func (w *watcher) step(ctx context.Context) (done bool, err error) {
	if err := w.find(ctx); err != nil {
		return false, err
	}
	j, err := w.client.Job(ctx, w.id)
	if err != nil {
		return false, err
	}
	last, err := w.newest(ctx)
	if err != nil {
		return false, err
	}
	switch j.State {
	case "FINISHED":
		return true, w.finished(j, last)
	case "FAILED", "CANCELED":
		return false, fmt.Errorf("the job ended %s: %s", j.State, j.StateReason)
	}
	w.progress(j, last)
	runs := j.State == "RUNNING"
	switch since := time.Since(w.began); {
	case w.killedTM.IsZero():
		if runs && since > w.pace/3 && last >= checkpointsMin {
			return false, w.killTaskManager(ctx, j, last)
		}
	case !w.back:
		if runs && j.Attempt > w.attempt {
			w.back, w.checkpointAfter = true, last
			say("the job runs again, attempt %d, %.1f s after its pod was deleted", j.Attempt, time.Since(w.killedTM).Seconds())
		}
	case w.killedJM.IsZero():
		if runs && since > w.pace*2/3 && last >= w.checkpointAfter+checkpointsMin {
			return false, w.killLeader(ctx, last)
		}
	case !w.succeeded:
		return false, w.succession(ctx)
	}
	return false, nil
}

func (w *watcher) find(ctx context.Context) error {
	if w.id != "" {
		return nil
	}
	jobs, err := w.client.Jobs(ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Name == w.name {
			w.id = j.ID
			return nil
		}
	}
	return fmt.Errorf("no job %s", w.name)
}

func (w *watcher) newest(ctx context.Context) (int64, error) {
	cps, err := w.client.Checkpoints(ctx, w.id)
	if err != nil || cps.Latest.Completed == nil {
		return 0, err
	}
	return cps.Latest.Completed.ID, nil
}

func (w *watcher) progress(j restapi.Job, last int64) {
	if time.Since(w.spoken) < 2*time.Second {
		return
	}
	w.spoken = time.Now()
	say("%5.1f s  %-10s attempt %d, checkpoint %d", time.Since(w.began).Seconds(), j.State, j.Attempt, last)
}

// killTaskManager deletes a pod that runs the job, without a grace period.
func (w *watcher) killTaskManager(ctx context.Context, j restapi.Job, last int64) error {
	if err := w.inputLeft(ctx); err != nil {
		return err
	}
	tms, err := w.client.TaskManagers(ctx)
	if err != nil {
		return err
	}
	for _, tm := range tms {
		if len(tm.Workers) > 0 {
			w.killedTM, w.attempt = time.Now(), j.Attempt
			say("after checkpoint %d: taskmanager %s with worker %s and %d MiB for workers", last, tm.ID, tm.Workers[0].ID, tm.Hardware.PhysicalMemory>>20)
			return w.deletePod(ctx, tm.ID)
		}
	}
	return errors.New("no taskmanager runs a worker")
}

func (w *watcher) killLeader(ctx context.Context, last int64) error {
	if err := w.inputLeft(ctx); err != nil {
		return err
	}
	o, err := w.client.Overview(ctx)
	if err != nil {
		return err
	}
	w.killedJM, w.leader, w.epoch = time.Now(), o.Leader, o.Epoch
	say("after checkpoint %d: jobmanager %s leads with epoch %d", last, o.Leader, o.Epoch)
	return w.deletePod(ctx, o.Leader)
}

// deletePod kills the pod's program with SIGKILL, since the kubelet would ask
// it to end first, and deletes the pod without a grace period.
func (w *watcher) deletePod(ctx context.Context, pod string) error {
	kubectl := []string{"--kubeconfig", w.kubeconfig, "-n", w.namespace}
	if w.cluster != "" {
		get := append(slices.Clone(kubectl), "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
		id, err := exec.CommandContext(ctx, w.kubectl, get...).Output()
		if err != nil {
			return fmt.Errorf("container of pod %s: %w", pod, err)
		}
		if err := command(ctx, w.cluster, "inside", "--dir", w.dir, "ctr", "-n", "k8s.io", "task", "kill", "--signal", "SIGKILL",
			strings.TrimPrefix(string(id), "containerd://")); err != nil {
			return err
		}
	}
	return command(ctx, w.kubectl, append(kubectl, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")...)
}

// inputLeft makes sure that a disturbance hits between two commits.
func (w *watcher) inputLeft(ctx context.Context) error {
	committed, err := proof.GroupOffsets(ctx, w.kafka, w.topics.Orders+"-job", w.topics.Orders)
	if err != nil {
		return err
	}
	if committed <= 0 || committed >= int64(w.in.Len()) {
		return fmt.Errorf("the committed offset is %d of %d: the disturbance comes too late, use a longer --pace", committed, w.in.Len())
	}
	return nil
}

func (w *watcher) succession(ctx context.Context) error {
	o, err := w.client.Overview(ctx)
	if err != nil {
		return err
	}
	if o.Leader == w.leader || o.Epoch <= w.epoch {
		return nil
	}
	w.succeeded = true
	say("jobmanager %s leads with epoch %d, %.1f s after the pod of the other was deleted", o.Leader, o.Epoch, time.Since(w.killedJM).Seconds())
	return nil
}

func (w *watcher) finished(j restapi.Job, last int64) error {
	say("the job has finished after %.1f s: attempt %d, %d restarts, checkpoint %d", time.Since(w.began).Seconds(), j.Attempt, j.Restarts, last)
	switch {
	case w.killedTM.IsZero() || w.killedJM.IsZero():
		return errors.New("the job finished before both pods were deleted: use a longer --pace")
	case !w.back || j.Attempt <= w.attempt:
		return errors.New("a taskmanager's pod was deleted, but the job has not restarted")
	case !w.succeeded:
		return errors.New("the leader's pod was deleted, but no other leads")
	}
	return nil
}
