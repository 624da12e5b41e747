package minicluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/leatstream/leat/runtime/taskexec"
)

// KillWorker ends a worker as kill -9 would: nothing that it says from now on
// is heard. name is one of Workers.
func (c *Cluster) KillWorker(name string) error {
	id, worker, _ := strings.Cut(name, "/")
	tm := c.find(id)
	if tm == nil || !tm.launcher.kill(worker) {
		return fmt.Errorf("minicluster: no worker %q runs", name)
	}
	return nil
}

// KillTaskManager ends a taskmanager with its workers, as if its machine had
// died, and returns when nothing of it runs any more.
func (c *Cluster) KillTaskManager(id string) error {
	tm := c.find(id)
	if tm == nil {
		return fmt.Errorf("minicluster: no taskmanager %q", id)
	}
	c.mu.Lock()
	c.tms = slices.DeleteFunc(c.tms, func(x *taskManager) bool { return x == tm })
	c.mu.Unlock()
	tm.setCut(true)
	for _, w := range tm.launcher.running() {
		tm.launcher.kill(w)
	}
	tm.stop()
	<-tm.done
	return nil
}

// DrainTaskManager ends a taskmanager in order: its work is moved first. It
// returns when nothing of it runs any more.
func (c *Cluster) DrainTaskManager(id string) error {
	tm := c.find(id)
	if tm == nil {
		return fmt.Errorf("minicluster: no taskmanager %q", id)
	}
	tm.drain()
	<-tm.done
	c.mu.Lock()
	c.tms = slices.DeleteFunc(c.tms, func(x *taskManager) bool { return x == tm })
	c.mu.Unlock()
	return nil
}

// Partition cuts a taskmanager off from the jobmanager, or mends that.
func (c *Cluster) Partition(id string, cut bool) error {
	tm := c.find(id)
	if tm == nil {
		return fmt.Errorf("minicluster: no taskmanager %q", id)
	}
	tm.setCut(cut)
	return nil
}

// Depose ends the leadership; another is won at once, and the workers go on
// meanwhile.
func (c *Cluster) Depose() { c.service.Depose() }

// recorder remembers the processes that a launcher started.
type recorder struct {
	taskexec.Launcher
	mu    sync.Mutex
	procs map[string]taskexec.Process // guarded by mu
}

func newRecorder(l taskexec.Launcher) *recorder {
	return &recorder{Launcher: l, procs: make(map[string]taskexec.Process)}
}

// Start implements taskexec.Launcher.
func (r *recorder) Start(ctx context.Context, s taskexec.Spec) (taskexec.Process, error) {
	p, err := r.Launcher.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	id := s.Start.GetWorkerId()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.procs[id] = p
	return &recorded{Process: p, forget: func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.procs, id)
	}}, nil
}

type recorded struct {
	taskexec.Process
	forget func()
}

// Wait implements taskexec.Process.
func (p *recorded) Wait() taskexec.Exit {
	x := p.Process.Wait()
	p.forget()
	return x
}

func (r *recorder) running() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.procs))
}

func (r *recorder) kill(id string) bool {
	r.mu.Lock()
	p := r.procs[id]
	r.mu.Unlock()
	if p == nil {
		return false
	}
	p.Kill()
	return true
}
