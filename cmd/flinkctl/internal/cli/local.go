package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/cmd/flinkctl/internal/localcluster"
	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) localCommands() *cobra.Command {
	c := &cobra.Command{Use: "local", Short: "Run a cluster on this machine, with nothing else installed"}
	c.AddCommand(a.localUp(), a.localStatus(), a.localDown(), a.localReset())
	return c
}

// defaultDir is where a local cluster keeps its data.
func defaultDir() string {
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return filepath.Join(os.TempDir(), "leat-local")
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "leat", "local")
}

func dirFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "dir", defaultDir(), "folder of the cluster's data")
}

func (a *app) localUp() *cobra.Command {
	var o localcluster.Options
	var detach bool
	var memoryMiB int64
	c := &cobra.Command{
		Use: "up", Short: "Start a cluster and keep it until Ctrl-C", Args: cobra.NoArgs,
		Example: "  flinkctl local up --kafka\n  flinkctl local up --detach --taskmanagers 3",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.TaskManagers < 1 || o.Slots < 1 {
				return usagef("--taskmanagers %d and --slots %d must be at least 1", o.TaskManagers, o.Slots)
			}
			o.MemoryBytes = memoryMiB << 20
			var err error
			if o.Dir, err = filepath.Abs(o.Dir); err != nil {
				return err
			}
			if detach {
				return a.detached(c.Context(), o)
			}
			o.Verbose = a.verbose
			return a.up(c.Context(), o)
		},
	}
	dirFlag(c, &o.Dir)
	f := c.Flags()
	f.IntVar(&o.RESTPort, "rest-port", 8081, "port of the REST API (0: a free one)")
	f.IntVar(&o.TaskManagers, "taskmanagers", 1, "number of taskmanagers")
	f.IntVar(&o.Slots, "slots", 4, "slots of each taskmanager")
	f.BoolVar(&o.Kafka, "kafka", false, "also run a Kafka-protocol broker")
	f.IntVar(&o.KafkaPort, "kafka-port", 9092, "port of the broker (0: a free one)")
	f.Int64Var(&memoryMiB, "memory-mib", 2048, "memory of each taskmanager in MiB, shared by its workers")
	f.BoolVar(&detach, "detach", false, "return once the cluster answers; it goes on in the background")
	return c
}

func (a *app) up(ctx context.Context, o localcluster.Options) error {
	logFile, err := openLog(o.Dir)
	if err != nil {
		return err
	}
	defer logFile.Close()
	o.Log = logFile
	began := time.Now()
	err = localcluster.Run(ctx, o, func(s localcluster.Status) {
		if a.output != "table" {
			if err := a.printStatus(s); err != nil {
				fmt.Fprintln(a.err, err)
			}
		}
		fmt.Fprintf(a.err, "cluster up after %s: REST %s, %d taskmanagers, %d slots\n", time.Since(began).Round(time.Millisecond), s.REST, s.TaskManagers, s.Slots)
		if s.Kafka != "" {
			fmt.Fprintf(a.err, "Kafka-protocol broker at %s\n", s.Kafka)
		}
		fmt.Fprintf(a.err, "log: %s; Ctrl-C ends it\n", logFile.Name())
	})
	return startError(o, err)
}

// startError gives what keeps a cluster from starting its code.
func startError(o localcluster.Options, err error) error {
	switch {
	case errors.Is(err, localcluster.ErrRuns):
		return exitWith(exitConflict, coded("LEAT0602", "a cluster runs in "+o.Dir+" already",
			"flinkctl local status --dir "+o.Dir, "flinkctl local down --dir "+o.Dir, "or start another one: --dir, --rest-port, --kafka-port"))
	case errors.Is(err, syscall.EADDRINUSE):
		e := coded("LEAT0603", "a port of the cluster is in use", "choose others: --rest-port, --kafka-port (0: a free one)",
			"or end what uses it; for a local cluster: flinkctl local down")
		e.Why = err.Error()
		return exitWith(exitConflict, e)
	}
	return err
}

func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "cluster.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// detached runs the same command in a session of its own and waits until the
// cluster is up or the process has ended.
func (a *app) detached(ctx context.Context, o localcluster.Options) error {
	dir := o.Dir
	if s, err := localcluster.Read(dir); err == nil && s.State == "up" {
		if o.Kafka && s.Kafka == "" {
			return exitWith(exitConflict, coded("LEAT0602", "a cluster without a broker runs in "+dir+" already", "flinkctl local down --dir "+dir+", then again"))
		}
		fmt.Fprintln(a.err, "The cluster was up already.")
		return a.printStatus(s)
	}
	logFile, err := openLog(dir)
	if err != nil {
		return err
	}
	defer logFile.Close()
	// What the child says when it cannot start is shown here, not in its log.
	said, err := os.CreateTemp("", "leat-up-*.err")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(said.Close(), os.Remove(said.Name())) }() // scratch
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := slices.DeleteFunc(slices.Clone(a.args), func(s string) bool { return s == "--detach" || s == "--detach=true" })
	cmd := exec.Command(self, append(args, "--output", "json")...)
	cmd.Stdout, cmd.Stderr = logFile, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	for {
		if s, err := localcluster.Read(dir); err == nil && s.State == "up" {
			return a.printStatus(s)
		}
		select {
		case err := <-exited:
			return childError(said.Name(), logFile.Name(), err)
		case <-ctx.Done():
			return errors.Join(context.Canceled, cmd.Process.Signal(syscall.SIGTERM))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// childError is what the detached child said before it ended.
func childError(said, log string, ended error) error {
	text, err := os.ReadFile(said)
	var body restapi.ErrorBody
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err == nil && json.Unmarshal([]byte(lines[len(lines)-1]), &body) == nil && body.Error != nil {
		var exit *exec.ExitError
		if errors.As(ended, &exit) && exit.ExitCode() > 0 {
			return exitWith(exit.ExitCode(), body.Error)
		}
		return body.Error
	}
	e := coded("LEAT0601", fmt.Sprintf("the cluster ended while it started: %v", ended), "look at "+log)
	e.Why = strings.TrimSpace(string(text))
	return e
}

func (a *app) printStatus(s localcluster.Status) error {
	return a.print(s, func() table {
		t := table{names: []string{s.State}, header: []string{"FIELD", "VALUE"}, rows: [][]string{{"state", s.State}, {"folder", s.Dir}}}
		if s.State == "up" {
			t.rows = append(t.rows, []string{"rest", s.REST}, []string{"kafka", dash(s.Kafka)}, []string{"etcd", s.Etcd},
				[]string{"taskmanagers", fmt.Sprintf("%d with %d slots", s.TaskManagers, s.Slots)}, []string{"pid", fmt.Sprint(s.PID)}, []string{"age", ago(s.Started)})
		}
		return t
	})
}

func (a *app) localStatus() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "status", Short: "Say whether a local cluster runs, and where", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := localcluster.Read(dir)
			if err != nil {
				return err
			}
			return a.printStatus(s)
		},
	}
	dirFlag(c, &dir)
	return c
}

func (a *app) localDown() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "down", Short: "End the local cluster; its data stays", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ran, err := localcluster.Stop(dir)
			if err != nil {
				return err
			}
			if !ran {
				fmt.Fprintln(a.err, "No local cluster runs in", dir)
			}
			s, err := localcluster.Read(dir)
			if err != nil {
				return err
			}
			return a.printStatus(s)
		},
	}
	dirFlag(c, &dir)
	return c
}

func (a *app) localReset() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "reset", Short: "End the local cluster and delete all its data", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := os.Stat(filepath.Join(dir, ".lock")); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintln(a.err, "There is no local cluster in", dir)
				return a.printReset(dir, false)
			}
			if err := a.askName("Delete the local cluster's jobs, checkpoints and topics?", dir); err != nil {
				return err
			}
			if _, err := localcluster.Stop(dir); err != nil {
				return err
			}
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return a.printReset(dir, true)
		},
	}
	dirFlag(c, &dir)
	return c
}

func (a *app) printReset(dir string, deleted bool) error {
	return a.print(map[string]any{"dir": dir, "deleted": deleted}, func() table {
		t := table{header: []string{"DELETED"}, names: []string{}}
		if deleted {
			t.rows, t.names = [][]string{{dir}}, []string{dir}
		}
		return t
	})
}
