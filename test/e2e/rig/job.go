package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
)

// Flinkctl runs a verb of flinkctl and returns what it prints.
func (r *Rig) Flinkctl(ctx context.Context, args ...string) (string, error) {
	i, _, err := r.leader(ctx)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(r.cfg.Programs, "flinkctl"), args...)
	cmd.Env = append(os.Environ(), "LEAT_JOBMANAGER="+r.rest[i], marker+"="+r.dir)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("flinkctl %s: %w: %s%s", strings.Join(args, " "), err, out, errOut.String())
	}
	return string(out), nil
}

// Submit runs a bundle as a job and returns its id once it runs.
func (r *Rig) Submit(ctx context.Context, bundle, name string, parallelism int, more []string, args ...string) (string, error) {
	verb := append([]string{"run", bundle, "--name", name, "--parallelism", fmt.Sprint(parallelism), "--wait", "running", "--timeout", "90s", "-o", "json"}, more...)
	out, err := r.Flinkctl(ctx, append(append(verb, "--"), args...)...)
	if err != nil {
		return "", err
	}
	var started struct {
		Job string `json:"job"`
	}
	if err := json.Unmarshal([]byte(out), &started); err != nil || started.Job == "" {
		return "", fmt.Errorf("flinkctl run printed %q: %w", out, err)
	}
	return started.Job, nil
}

// Job returns what the leader knows of a job.
func (r *Rig) Job(ctx context.Context, id string) (restapi.Job, error) {
	_, c, err := r.leader(ctx)
	if err != nil {
		return restapi.Job{}, err
	}
	return c.Job(ctx, id)
}

// Checkpoints returns how many checkpoints the job has completed.
func (r *Rig) Checkpoints(ctx context.Context, id string) (int, error) {
	s, err := r.CheckpointHistory(ctx, id)
	return s.Counts.Completed, err
}

// CheckpointHistory returns what the leader knows of a job's checkpoints.
func (r *Rig) CheckpointHistory(ctx context.Context, id string) (restapi.Checkpoints, error) {
	_, c, err := r.leader(ctx)
	if err != nil {
		return restapi.Checkpoints{}, err
	}
	return c.Checkpoints(ctx, id)
}

// Exceptions returns what the leader knows of a job's failures, the newest
// first.
func (r *Rig) Exceptions(ctx context.Context, id string) ([]restapi.Exception, error) {
	_, c, err := r.leader(ctx)
	if err != nil {
		return nil, err
	}
	e, err := c.Exceptions(ctx, id)
	return e.History.Entries, err
}

// AwaitCheckpoints returns when the job has completed so many checkpoints.
func (r *Rig) AwaitCheckpoints(ctx context.Context, id string, n int, limit time.Duration) error {
	return await(ctx, limit, func() error {
		got, err := r.Checkpoints(ctx, id)
		if err == nil && got < n {
			err = fmt.Errorf("%d of %d checkpoints are completed", got, n)
		}
		return err
	})
}

// AwaitFinished returns when the job has finished; another end is an error
// that tells why. A leader that is away meanwhile is waited for.
func (r *Rig) AwaitFinished(ctx context.Context, id string, limit time.Duration) (restapi.Job, error) {
	var job restapi.Job
	var failed error
	err := await(ctx, limit, func() error {
		j, err := r.Job(ctx, id)
		if err != nil {
			return err
		}
		job = j
		switch j.State {
		case "FINISHED":
			return nil
		case "FAILED", "CANCELED":
			failed = fmt.Errorf("job %s ended %s: %v", j.Name, j.State, j.Failure) //nolint:errorlint // the failure may be absent
			return nil
		}
		return fmt.Errorf("job %s is %s (%s), attempt %d", j.Name, j.State, j.StateReason, j.Attempt)
	})
	if failed != nil {
		return job, failed
	}
	return job, err
}

// AwaitRunning returns when the job runs in an attempt of at least the given
// number.
func (r *Rig) AwaitRunning(ctx context.Context, id string, attempt int64, limit time.Duration) error {
	return await(ctx, limit, func() error {
		j, err := r.Job(ctx, id)
		if err == nil && (j.State != "RUNNING" || j.Attempt < attempt) {
			err = fmt.Errorf("job %s is %s (%s), attempt %d", j.Name, j.State, j.StateReason, j.Attempt)
		}
		return err
	})
}
