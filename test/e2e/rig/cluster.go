package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
)

// Target is what is killed.
type Target string

// What can be killed.
const (
	Worker      Target = "worker"
	TaskManager Target = "taskmanager"
	JobManager  Target = "jobmanager"
	Kafka       Target = "kafka"
	S3          Target = "s3"
	Etcd        Target = "etcd"
)

// Targets returns all of them.
func Targets() []Target { return []Target{Worker, TaskManager, JobManager, Kafka, S3, Etcd} }

func (r *Rig) startCluster(ctx context.Context) error {
	for i := range 2 {
		control, err := freePort()
		if err != nil {
			return err
		}
		web, err := freePort()
		if err != nil {
			return err
		}
		id := fmt.Sprintf("%sjm-%d", r.prefix, i+1)
		p := r.process(id, append(r.command("jobmanager", id),
			"--control-listen", fmt.Sprintf("127.0.0.1:%d", control), "--rest-listen", fmt.Sprintf("127.0.0.1:%d", web))...)
		p.env = append(p.env, r.Trace.env()...)
		r.jobManagers = append(r.jobManagers, p)
		r.rest = append(r.rest, fmt.Sprintf("http://127.0.0.1:%d", web))
	}
	for i := range r.cfg.TaskManagers {
		id := fmt.Sprintf("%stm-%d", r.prefix, i+1)
		sockets := filepath.Join(r.sockets, id)
		if err := os.Mkdir(sockets, 0o700); err != nil {
			return err
		}
		p := r.process(id, append(r.command("taskmanager", id),
			"--slots", "1", "--memory", "512MiB", "--metrics-listen", "", "--socket-dir", sockets, "--host-id", "e2e-"+id,
			"--worker-env", marker)...)
		p.env = append(p.env, r.Trace.env()...)
		r.taskManagers = append(r.taskManagers, p)
	}
	for _, p := range append(append([]*process{}, r.jobManagers...), r.taskManagers...) {
		if err := p.start(); err != nil {
			return err
		}
	}
	return r.AwaitTaskManagers(ctx)
}

// command is a program with the options that jobmanagers and taskmanagers share.
func (r *Rig) command(program, id string) []string {
	return []string{
		filepath.Join(r.cfg.Programs, program), "--id", id, "--dir", filepath.Join(r.dir, id), "--ha-endpoints", r.etcdURL, "--ha-prefix", "leat/e2e" + r.prefix,
		"--store-uri", "s3://" + r.bucket + "/cluster", "--store-endpoint", r.s3URL, "--store-region", "us-east-1",
		"--store-access-key", accessKey, "--store-secret-key", secretKey,
	}
}

// AwaitTaskManagers returns when all taskmanagers are registered.
func (r *Rig) AwaitTaskManagers(ctx context.Context) error {
	return await(ctx, upMax, func() error {
		_, c, err := r.leader(ctx)
		if err != nil {
			return err
		}
		o, err := c.Overview(ctx)
		if err == nil && o.TaskManagers < r.cfg.TaskManagers {
			err = fmt.Errorf("%d of %d taskmanagers are registered", o.TaskManagers, r.cfg.TaskManagers)
		}
		return err
	})
}

// restMax bounds one request.
const restMax = 5 * time.Second

// leader returns the place of the leading jobmanager and a client of it.
func (r *Rig) leader(ctx context.Context) (int, *restapi.Client, error) {
	h := &http.Client{Timeout: restMax}
	for i, base := range r.rest {
		if !r.jobManagers[i].running() {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/leader", nil)
		if err != nil {
			return 0, nil, err
		}
		resp, err := h.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close() // nothing of it is used
		if resp.StatusCode == http.StatusOK {
			return i, restapi.NewClient(base, h), nil
		}
	}
	return 0, nil, fmt.Errorf("no jobmanager leads")
}

// Kill ends the target with SIGKILL and returns what starts it again: a
// worker is started by the engine, and nothing is to be done. Of several
// processes rng chooses one that has to do with the job.
func (r *Rig) Kill(ctx context.Context, what Target, job string, rng *rand.Rand) (restart func(context.Context) error, name string, err error) {
	again := func(p *process) func(context.Context) error { return func(context.Context) error { return p.start() } }
	switch what {
	case Kafka:
		return r.startKafka, "broker 1", r.killKafka(ctx)
	case S3:
		return again(r.s3), "s3", r.s3.kill()
	case Etcd:
		return again(r.etcd), "etcd", r.etcd.kill()
	case JobManager:
		i, _, err := r.leader(ctx)
		if err != nil {
			return nil, "", err
		}
		return again(r.jobManagers[i]), r.jobManagers[i].name, r.jobManagers[i].kill()
	}
	tm, w, err := r.pick(ctx, job, rng)
	if err != nil {
		return nil, "", err
	}
	if what == Worker {
		if err := syscall.Kill(int(w.PID), syscall.SIGKILL); err != nil {
			return nil, "", fmt.Errorf("kill worker %s, process %d: %w", w.ID, w.PID, err)
		}
		return func(context.Context) error { return nil }, fmt.Sprintf("worker %s on %s", w.ID, tm), nil
	}
	for _, p := range r.taskManagers {
		if p.name == tm {
			return again(p), tm, p.kill()
		}
	}
	return nil, "", fmt.Errorf("taskmanager %q is not of this cluster", tm)
}

// End has a taskmanager that runs a worker of the job end in order, and returns
// once it has ended.
func (r *Rig) End(ctx context.Context, job string, rng *rand.Rand) (restart func(context.Context) error, name string, err error) {
	tm, _, err := r.pick(ctx, job, rng)
	if err != nil {
		return nil, "", err
	}
	for _, p := range r.taskManagers {
		if p.name == tm {
			return func(context.Context) error { return p.start() }, tm, p.stop()
		}
	}
	return nil, "", fmt.Errorf("taskmanager %q is not of this cluster", tm)
}

// pick chooses one of the job's workers.
func (r *Rig) pick(ctx context.Context, job string, rng *rand.Rand) (taskManager string, w restapi.Worker, err error) {
	_, c, err := r.leader(ctx)
	if err != nil {
		return "", w, err
	}
	list, err := c.TaskManagers(ctx)
	if err != nil {
		return "", w, err
	}
	n := 0
	for _, tm := range list {
		for _, one := range tm.Workers {
			if one.JobID != job {
				continue
			}
			if n++; rng.IntN(n) == 0 {
				taskManager, w = tm.ID, one
			}
		}
	}
	if n == 0 {
		return "", w, fmt.Errorf("no worker of job %s runs", job)
	}
	return taskManager, w, nil
}

// Revive starts what failpoints have killed.
func (r *Rig) Revive() error {
	for _, p := range append(append([]*process{}, r.jobManagers...), r.taskManagers...) {
		if !p.running() {
			if err := p.start(); err != nil {
				return err
			}
		}
	}
	return nil
}
