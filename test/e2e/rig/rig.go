// Package rig runs a whole cluster of separate processes for tests: two
// jobmanagers, three taskmanagers and the real servers around them (Apache
// Kafka, etcd, an S3 server), all on the loopback interface with their data in
// one folder. Each of them can be killed and started again. It judges nothing:
// what a job has committed is judged by test/proof.
package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Config says what to run.
type Config struct {
	// Module is the folder of the project, Programs that of jobmanager,
	// taskmanager and flinkctl, built with the tag failpoints.
	Module, Programs string
	// Dir holds data and logs; it must hold nothing of a cluster before.
	Dir string
	// TaskManagers with one slot each.
	TaskManagers int
	// Network is where the processes run; nil: all on the loopback interface.
	Network Network
	// Front puts something between the cluster and its S3 server, given its
	// URL, and returns the URL for the cluster; nil: nothing.
	Front func(ctx context.Context, url string) (string, error)
	// Env is added to the environment of the jobmanager or taskmanager of an
	// id, KEY=value; nil: nothing.
	Env func(id string) []string
}

// Network puts groups of processes on hosts of their own. The groups are etcd,
// s3, kafka, jm-1, jm-2, tm-1 and so on; workers are of their taskmanager's.
type Network interface {
	// Host returns the address of a group.
	Host(group string) (string, error)
	// Start starts a command as a process of the group.
	Start(group string, cmd *exec.Cmd) error
}

const loopbackHost = "127.0.0.1"

// loopback is the network without namespaces.
type loopback struct{}

// Host implements Network.
func (loopback) Host(string) (string, error) { return loopbackHost, nil }

// Start implements Network.
func (loopback) Start(_ string, cmd *exec.Cmd) error { return cmd.Start() }

// Rig is a running cluster.
type Rig struct {
	cfg Config
	dir string

	etcd, s3  *process
	etcdURL   string
	s3URL     string // for the cluster
	s3Direct  string
	kafkaPort int
	brokers   string

	jobManagers, taskManagers []*process
	rest                      []string // of each jobmanager
	sockets                   string
	Trace                     *Trace

	prefix, bucket string // of this cluster's names, and its objects
	beside         bool   // the servers are another rig's
}

// Start runs the cluster and returns when it can take a job.
func Start(ctx context.Context, cfg Config) (_ *Rig, err error) {
	if cfg.Network == nil {
		cfg.Network = loopback{}
	}
	r := &Rig{cfg: cfg, dir: cfg.Dir, bucket: bucket}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.Trace, err = newTrace(filepath.Join(r.dir, "failpoints")); err != nil {
		return nil, err
	}
	// Unix sockets need short paths.
	if r.sockets, err = os.MkdirTemp("", "le"); err != nil {
		return nil, err
	}
	if err := r.startServers(ctx); err != nil {
		return nil, err
	}
	if err := r.startCluster(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Brokers returns Kafka's addresses.
func (r *Rig) Brokers() string { return r.brokers }

func (r *Rig) process(name string, argv ...string) *process {
	return &process{name: name, argv: argv, dir: r.dir, env: []string{marker + "=" + r.dir}, network: r.cfg.Network}
}

// orphansMax is how long processes may outlive the ones that started them.
const orphansMax = 10 * time.Second

// Close stops everything. Processes that are left are killed and reported.
func (r *Rig) Close() error {
	var errs []error
	for _, p := range append(append([]*process{}, r.taskManagers...), r.jobManagers...) {
		errs = append(errs, p.stop())
	}
	if r.brokers != "" && !r.beside {
		_, err := r.kafka(context.Background(), "stop", "--dir", filepath.Join(r.dir, "kafka"))
		errs = append(errs, err)
	}
	for _, p := range []*process{r.s3, r.etcd} {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	if r.sockets != "" {
		errs = append(errs, os.RemoveAll(r.sockets))
	}
	if r.beside {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, r.orphans())...)
}

func (r *Rig) orphans() error {
	var left map[int]string
	if err := await(context.Background(), orphansMax, func() error {
		if left = marked(r.dir); len(left) > 0 {
			return fmt.Errorf("%d processes are left", len(left))
		}
		return nil
	}); err == nil {
		return nil
	}
	var errs []error
	for pid, line := range left {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // it may just have ended
		}
		errs = append(errs, fmt.Errorf("process %d outlived the cluster: %s", pid, line))
	}
	return errors.Join(errs...)
}
