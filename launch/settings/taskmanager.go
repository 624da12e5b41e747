package settings

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/internal/config"
)

// TaskManager is the configuration of the program taskmanager.
type TaskManager struct {
	ID           string        `config:"id" help:"name in the cluster; empty: the machine's name"`
	Insecure     bool          `config:"insecure" default:"false" help:"allow addresses that other machines reach, without encryption and tokens"`
	JobManagers  []string      `config:"jobmanagers" help:"host:port of the jobmanagers' control endpoints; with ha.endpoints not needed"`
	Slots        int           `config:"slots" default:"0" min:"0" help:"slices of jobs that run here at a time; 0: one for each processor"`
	Memory       config.Size   `config:"memory" default:"0" help:"memory of all workers together, shared by slots; 0: four fifths of the machine's or container's"`
	Address      string        `config:"address" default:"127.0.0.1" help:"address under which workers of other machines reach those here"`
	HostID       string        `config:"host-id" help:"equal for taskmanagers of one machine whose workers share unix sockets; empty: the machine's name"`
	Dir          string        `config:"dir" help:"working folder, its own; empty: one in the system's folder for temporary files"`
	SocketDir    string        `config:"socket-dir" help:"folder for unix sockets, with a short path; empty: the working folder"`
	BundleCache  config.Size   `config:"bundle-cache" default:"4GiB" min:"1MiB" help:"disk for programs of bundles"`
	StateCopies  config.Size   `config:"state-copies" default:"4GiB" min:"0" help:"disk for copies of checkpoints, from which workers here recover without the object store; 0: none"`
	WorkerEnv    []string      `config:"worker-env" help:"variables of the environment that workers get too, for secrets"`
	StateBackend string        `config:"state-backend" default:"memory" enum:"memory,pebble" help:"where jobs that do not say so keep keyed state: in the worker's memory, or on disk in the working folder"`
	HelloMax     time.Duration `config:"hello-timeout" default:"30s" min:"1s" help:"how long a started worker may take to report"`
	AwayMax      time.Duration `config:"leaderless-timeout" default:"10m" min:"1s" help:"how long workers go on while no jobmanager is reached"`
	DrainMax     time.Duration `config:"drain-timeout" default:"20s" min:"0s" help:"how long a taskmanager that is to end waits for its work to be moved"`
	Metrics      Metrics       `config:"metrics"`
	Store        Store         `config:"store"`
	HA           FollowHA      `config:"ha"`
	Log          Log           `config:"log"`
}

// Metrics is where Prometheus reads.
type Metrics struct {
	Listen string `config:"listen" default:"127.0.0.1:9249" help:"address of /metrics and /healthz (HTTP); empty: none"`
}

// FollowHA is how a taskmanager finds the elected jobmanager.
type FollowHA struct {
	Endpoints []string      `config:"endpoints" help:"etcd: URLs of its members"`
	Prefix    string        `config:"prefix" default:"leat/default" help:"etcd: prefix of the cluster's keys"`
	Username  string        `config:"username" help:"etcd: user, with the right to read"`
	Password  config.Secret `config:"password" help:"etcd: password"`
}

// Coordination returns the settings in the form that opens it.
func (f FollowHA) Coordination() HA {
	return HA{Kind: "etcd", Endpoints: f.Endpoints, Prefix: f.Prefix, Username: f.Username, Password: f.Password, Lease: 2 * time.Second}
}

// Validate implements config.Validator.
func (t *TaskManager) Validate() []error {
	var faults []error
	if len(t.JobManagers) == 0 && len(t.HA.Endpoints) == 0 {
		faults = append(faults, errors.New("jobmanagers: it must be set, or ha.endpoints"))
	}
	for _, a := range t.JobManagers {
		if _, _, err := net.SplitHostPort(a); err != nil {
			faults = append(faults, fmt.Errorf("jobmanagers: %q is not host:port", a))
		}
	}
	if t.Metrics.Listen != "" {
		faults = append(faults, checkListen("metrics.listen", t.Metrics.Listen, t.Insecure)...)
	}
	if err := exposed("address", t.Address, t.Insecure); err != nil {
		faults = append(faults, err)
	}
	if unspecified(t.Address) {
		faults = append(faults, fmt.Errorf("address: %q names no address that others could use", t.Address))
	}
	if share := t.MemoryBytes() / int64(t.SlotCount()); share < 32<<20 {
		faults = append(faults, fmt.Errorf("memory: %s for %d slots leaves %d MiB a slot, at least 32 MiB are needed", config.Size(t.MemoryBytes()), t.SlotCount(), share>>20))
	}
	return faults
}

// Name returns the taskmanager's id.
func (t *TaskManager) Name() string { return cmp.Or(t.ID, hostname()) }

// Host returns the machine's name.
func (t *TaskManager) Host() string { return hostname() }

// Machine returns what is equal on one machine.
func (t *TaskManager) Machine() string { return cmp.Or(t.HostID, hostname()) }

// WorkDir returns the working folder.
func (t *TaskManager) WorkDir() string {
	return cmp.Or(t.Dir, filepath.Join(os.TempDir(), "leat-taskmanager-"+t.Name()))
}

// SlotCount returns the number of slots.
func (t *TaskManager) SlotCount() int { return cmp.Or(t.Slots, goruntime.GOMAXPROCS(0)) }

// MemoryBytes returns the workers' memory.
func (t *TaskManager) MemoryBytes() int64 {
	if t.Memory > 0 {
		return int64(t.Memory)
	}
	return machineMemory() / 5 * 4
}

// machineMemory is the container's limit, or the machine's memory.
func machineMemory() int64 {
	const unknown = 4 << 30
	total := int64(unknown)
	if n, ok := memTotal("/proc/meminfo"); ok {
		total = n
	}
	for _, f := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && n < total {
			total = n
		}
	}
	return total
}

func memTotal(path string) (int64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }() // opened for reading only
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}
