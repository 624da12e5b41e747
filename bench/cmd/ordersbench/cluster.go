package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatstream/leat/bench/cmd/internal/machine"
)

// cluster is a jobmanager and a taskmanager, each a process, as in production
// but for the memory in place of etcd, which is no process of the engine's.
type cluster struct {
	bench *bench
	rest  string
	jm    *program
	tm    *program
}

const startMax = 60 * time.Second

func (b *bench) startCluster(ctx context.Context, dir string) (*cluster, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var addresses [2]string
	for i := range addresses {
		var err error
		if addresses[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	c := &cluster{bench: b, rest: "http://" + addresses[1]}
	objects := "file://" + filepath.Join(dir, "objects")
	var err error
	c.jm, err = startProgram(dir, "jobmanager", filepath.Join(b.bin, "jobmanager"), nil, "--store-uri", objects, "--ha-kind", "memory",
		"--control-listen", addresses[0], "--rest-listen", addresses[1], "--dir", filepath.Join(dir, "jm"))
	if err != nil {
		return nil, err
	}
	var env []string
	if b.profile != "" {
		env = append(env, "LEAT_PPROF="+b.profile)
	}
	c.tm, err = startProgram(dir, "taskmanager", filepath.Join(b.bin, "taskmanager"), env, "--store-uri", objects, "--jobmanagers", addresses[0],
		"--slots", fmt.Sprint(b.parallelism), "--memory", fmt.Sprintf("%dMiB", 1024*b.parallelism),
		"--metrics-listen", "", "--dir", filepath.Join(dir, "tm"), "--socket-dir", dir)
	if err != nil {
		c.stop()
		return nil, err
	}
	if err := c.jm.await(ctx, startMax, func() bool { return c.slots(ctx) >= b.parallelism }); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) stop() {
	c.tm.stop()
	c.jm.stop()
}

// slots asks how many slots there are; 0 while nobody answers.
func (c *cluster) slots(ctx context.Context) int {
	var v struct {
		Slots int `json:"slots-total"`
	}
	if get(ctx, c.rest+"/v1/overview", &v) != nil {
		return 0
	}
	return v.Slots
}

func get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// flinkctl runs a verb and returns what it printed.
func (b *bench) flinkctl(ctx context.Context, rest string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "flinkctl"), args...)
	cmd.Env = append(os.Environ(), "LEAT_JOBMANAGER="+rest)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("flinkctl %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out, nil
}

// buildBundle packs the orders job, once.
func (b *bench) buildBundle(ctx context.Context) error {
	if b.bundle != "" {
		return nil
	}
	path := filepath.Join(b.dir, "orders.bundle")
	if _, err := b.flinkctl(ctx, "", "bundle", "build", "./examples/orders", "-o", path); err != nil {
		return err
	}
	b.bundle = path
	return nil
}

// cost is what a job cost.
type cost struct {
	jobManager, taskManager, worker time.Duration // worker: with the plan
	wall                            time.Duration
}

func (c cost) total() time.Duration { return c.jobManager + c.taskManager + c.worker }

// runJob runs the orders job to its end and measures from before it is
// submitted until its worker has ended.
func (c *cluster) runJob(ctx context.Context, name, brokers, ends string, interval time.Duration) (cost, error) {
	var zero cost
	jm0, err := timesOf(c.jm.pid())
	if err != nil {
		return zero, err
	}
	tm0, err := timesOf(c.tm.pid())
	if err != nil {
		return zero, err
	}
	began := time.Now()
	_, err = c.bench.flinkctl(ctx, c.rest, "run", c.bench.bundle, "--name", name, "--parallelism", fmt.Sprint(c.bench.parallelism),
		"--wait", "finished", "--", "--brokers", brokers, "--end", ends, "--checkpoint-interval", interval.String())
	if err != nil {
		return zero, err
	}
	wall := time.Since(began)
	if err := c.awaitNoWorker(ctx); err != nil {
		return zero, err
	}
	jm1, err := timesOf(c.jm.pid())
	if err != nil {
		return zero, err
	}
	tm1, err := timesOf(c.tm.pid())
	if err != nil {
		return zero, err
	}
	jm, tm := jm1.minus(jm0), tm1.minus(tm0)
	return cost{jobManager: jm.sum(), taskManager: tm.own, worker: tm.children, wall: wall}, nil
}

// awaitNoWorker waits until the taskmanager has waited for its children, so
// that their times are counted.
func (c *cluster) awaitNoWorker(ctx context.Context) error {
	children := fmt.Sprintf("/proc/%d/task", c.tm.pid())
	return c.tm.await(ctx, startMax, func() bool {
		threads, err := os.ReadDir(children)
		if err != nil {
			return false
		}
		for _, t := range threads {
			if machine.FirstLine(filepath.Join(children, t.Name(), "children")) != "" {
				return false
			}
		}
		return true
	})
}
