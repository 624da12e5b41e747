package rig

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
		if err := r.addJobManager(fmt.Sprintf("%sjm-%d", r.prefix, i+1)); err != nil {
			return err
		}
	}
	for i := range r.cfg.TaskManagers {
		if err := r.addTaskManager(fmt.Sprintf("%stm-%d", r.prefix, i+1)); err != nil {
			return err
		}
	}
	for _, p := range append(append([]*process{}, r.jobManagers...), r.taskManagers...) {
		if err := p.start(); err != nil {
			return err
		}
	}
	return r.AwaitTaskManagers(ctx)
}

func (r *Rig) addJobManager(id string) error {
	host, err := r.cfg.Network.Host(id)
	if err != nil {
		return err
	}
	control, err := freePort()
	if err != nil {
		return err
	}
	web, err := freePort()
	if err != nil {
		return err
	}
	p := r.process(id, append(r.command("jobmanager", id),
		"--control-listen", fmt.Sprintf("%s:%d", host, control), "--rest-listen", fmt.Sprintf("%s:%d", host, web))...)
	p.env = append(p.env, r.environment(id)...)
	r.jobManagers = append(r.jobManagers, p)
	r.rest = append(r.rest, fmt.Sprintf("http://%s:%d", host, web))
	return nil
}

func (r *Rig) addTaskManager(id string) error {
	host, err := r.cfg.Network.Host(id)
	if err != nil {
		return err
	}
	sockets := filepath.Join(r.sockets, id)
	if err := os.Mkdir(sockets, 0o700); err != nil {
		return err
	}
	p := r.process(id, append(r.command("taskmanager", id),
		"--slots", "1", "--memory", "512MiB", "--metrics-listen", "", "--socket-dir", sockets, "--host-id", "e2e-"+id,
		"--worker-env", marker, "--address", host)...)
	p.env = append(p.env, r.environment(id)...)
	r.taskManagers = append(r.taskManagers, p)
	return nil
}

func (r *Rig) environment(id string) []string {
	env := r.Trace.env()
	if r.cfg.Env != nil {
		env = append(env, r.cfg.Env(id)...)
	}
	return env
}

// command is a program with the options that jobmanagers and taskmanagers share.
func (r *Rig) command(program, id string) []string {
	args := []string{
		filepath.Join(r.cfg.Programs, program), "--id", id, "--dir", filepath.Join(r.dir, id), "--ha-endpoints", r.etcdURL, "--ha-prefix", haPrefix + r.prefix,
		"--store-uri", "s3://" + r.bucket + "/cluster", "--store-endpoint", r.s3URL, "--store-region", "us-east-1",
		"--store-access-key", accessKey, "--store-secret-key", secretKey,
	}
	if r.cfg.Network != Network(loopback{}) {
		args = append(args, "--insecure")
	}
	return args
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

// Victim is a process that is found for a fault.
type Victim struct {
	// Name is for people, Group that of the Network.
	Name, Group string
	// PID is its process.
	PID int
	// kill ends it and waits; again starts it.
	kill, again func(context.Context) error
}

// Kill ends it with SIGKILL and waits until it has ended.
func (v *Victim) Kill(ctx context.Context) error { return v.kill(ctx) }

// Restart starts what was killed. A worker is started by the engine, and
// nothing is done.
func (v *Victim) Restart(ctx context.Context) error { return v.again(ctx) }

// Signal sends it a signal.
func (v *Victim) Signal(s syscall.Signal) error {
	if err := syscall.Kill(v.PID, s); err != nil {
		return fmt.Errorf("%s to %s, process %d: %w", s, v.Name, v.PID, err)
	}
	return nil
}

// Find returns the target's process. Of several rng chooses one that has to do
// with the job.
func (r *Rig) Find(ctx context.Context, what Target, job string, rng *rand.Rand) (*Victim, error) {
	switch what {
	case Kafka:
		return r.broker()
	case S3:
		return r.s3.victim()
	case Etcd:
		return r.etcd.victim()
	case JobManager:
		i, _, err := r.leader(ctx)
		if err != nil {
			return nil, err
		}
		return r.jobManagers[i].victim()
	}
	tm, w, err := r.pick(ctx, job, rng)
	if err != nil {
		return nil, err
	}
	if what == Worker {
		v := &Victim{Name: fmt.Sprintf("worker %s on %s", w.ID, tm), Group: tm, PID: int(w.PID)}
		v.kill = func(context.Context) error { return v.Signal(syscall.SIGKILL) }
		v.again = func(context.Context) error { return nil }
		return v, nil
	}
	for _, p := range r.taskManagers {
		if p.name == tm {
			return p.victim()
		}
	}
	return nil, fmt.Errorf("taskmanager %q is not of this cluster", tm)
}

func (r *Rig) broker() (*Victim, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, kafkaGroup, "broker-1.pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return &Victim{Name: "broker 1", Group: kafkaGroup, PID: pid, kill: r.killKafka, again: r.startKafka}, err
}

// Kill ends the target with SIGKILL and returns what starts it again: a
// worker is started by the engine, and nothing is to be done. Of several
// processes rng chooses one that has to do with the job.
func (r *Rig) Kill(ctx context.Context, what Target, job string, rng *rand.Rand) (restart func(context.Context) error, name string, err error) {
	v, err := r.Find(ctx, what, job, rng)
	if err != nil {
		return nil, "", err
	}
	return v.again, v.Name, v.Kill(ctx)
}

// WorkerGroups returns the taskmanagers that workers of the job are on, in
// order; none while it is not known.
func (r *Rig) WorkerGroups(ctx context.Context, job string) []string {
	_, c, err := r.leader(ctx)
	if err != nil {
		return nil
	}
	list, err := c.TaskManagers(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, tm := range list {
		if slices.ContainsFunc(tm.Workers, func(w restapi.Worker) bool { return w.JobID == job }) {
			out = append(out, tm.ID)
		}
	}
	slices.Sort(out)
	return out
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
