package settings

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// JobManager is the configuration of the program jobmanager.
type JobManager struct {
	ID          string          `config:"id" help:"name among the cluster's jobmanagers; empty: the machine's name"`
	Insecure    bool            `config:"insecure" default:"false" help:"allow addresses that other machines reach, without encryption and tokens"`
	Control     ControlEndpoint `config:"control"`
	REST        RESTEndpoint    `config:"rest"`
	Store       Store           `config:"store"`
	HA          HA              `config:"ha"`
	Heartbeat   Heartbeat       `config:"heartbeat"`
	PlanTimeout time.Duration   `config:"plan-timeout" default:"30s" min:"1s" help:"how long a program may take to build its graph"`
	Dir         string          `config:"dir" help:"folder for uploads in progress; empty: one in the system's folder for temporary files"`
	Log         Log             `config:"log"`
}

// ControlEndpoint is where taskmanagers connect.
type ControlEndpoint struct {
	Listen    string `config:"listen" default:"127.0.0.1:6123" help:"address for taskmanagers (gRPC)"`
	Advertise string `config:"advertise" help:"host:port under which taskmanagers find it; empty: the address it listens on"`
}

// RESTEndpoint is where people and tools connect.
type RESTEndpoint struct {
	Listen    string `config:"listen" default:"127.0.0.1:8081" help:"address for REST, the dashboard, /metrics and /healthz (HTTP)"`
	Advertise string `config:"advertise" help:"URL under which others find it; empty: http and the address it listens on"`
}

// Heartbeat says when a taskmanager counts as gone.
type Heartbeat struct {
	Interval time.Duration `config:"interval" default:"500ms" min:"10ms" help:"time between heartbeats of taskmanagers"`
	Timeout  time.Duration `config:"timeout" default:"2s" min:"100ms" help:"a taskmanager silent for longer is gone; at least two intervals"`
}

// Validate implements config.Validator.
func (h *Heartbeat) Validate() []error {
	if h.Timeout < 2*h.Interval {
		return []error{fmt.Errorf("heartbeat.timeout: %s is less than two intervals of %s", h.Timeout, h.Interval)}
	}
	return nil
}

// Validate implements config.Validator.
func (j *JobManager) Validate() []error {
	faults := append(checkListen("control.listen", j.Control.Listen, j.Insecure), checkListen("rest.listen", j.REST.Listen, j.Insecure)...)
	if j.Control.Advertise != "" {
		if _, _, err := net.SplitHostPort(j.Control.Advertise); err != nil {
			faults = append(faults, fmt.Errorf("control.advertise: %q is not host:port", j.Control.Advertise))
		}
	}
	for _, e := range []struct{ option, listen, advertise string }{
		{"control", j.Control.Listen, j.Control.Advertise}, {"rest", j.REST.Listen, j.REST.Advertise},
	} {
		if host, _, err := net.SplitHostPort(e.listen); err == nil && unspecified(host) && e.advertise == "" {
			faults = append(faults, fmt.Errorf("%s.advertise: it must be set, since %s.listen is %s, which names no address that others could use", e.option, e.option, e.listen))
		}
	}
	return faults
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// Name returns the jobmanager's id.
func (j *JobManager) Name() string { return cmp.Or(j.ID, hostname()) }

// TempDir returns the folder for uploads.
func (j *JobManager) TempDir() string {
	return cmp.Or(j.Dir, filepath.Join(os.TempDir(), "leat-jobmanager-"+j.Name()))
}
