package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) taskmanagerCommands() *cobra.Command {
	c := &cobra.Command{Use: "taskmanager", Aliases: []string{"tm"}, Short: "List and look at taskmanagers"}
	c.AddCommand(a.taskmanagerList(), a.taskmanagerGet())
	return c
}

func (a *app) taskmanagerList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the registered taskmanagers", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.client().TaskManagers(c.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() table { return taskmanagerTable(list) })
		},
	}
}

func taskmanagerTable(list []restapi.TaskManager) table {
	t := table{
		header: []string{"ID", "SLOTS", "FREE", "MEMORY", "HEARTBEAT", "PLATFORM", "HOST"}, wideHeader: []string{"PID", "VERSION", "WORKERS"},
		empty: "No taskmanager is registered.",
	}
	for _, m := range list {
		t.rows = append(t.rows, []string{
			m.ID, fmt.Sprint(m.SlotsNumber), fmt.Sprint(m.FreeSlots), size(m.MemoryUsed) + "/" + size(m.Hardware.PhysicalMemory),
			ago(m.Heartbeat), m.Platform, m.Host,
		})
		t.wide = append(t.wide, []string{fmt.Sprint(m.PID), m.Version, fmt.Sprint(len(m.Workers))})
	}
	return t
}

func (a *app) taskmanagerGet() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Describe a taskmanager and its workers", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := a.client().TaskManager(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(m, func() table {
				t := table{header: []string{"FIELD", "VALUE"}}
				for _, r := range [][]string{
					{"id", m.ID}, {"host", m.Host}, {"address", m.Path}, {"platform", m.Platform}, {"version", m.Version},
					{"slots", fmt.Sprintf("%d of %d free", m.FreeSlots, m.SlotsNumber)}, {"pid", fmt.Sprint(m.PID)},
					{"memory", size(m.MemoryUsed) + " of " + size(m.Hardware.PhysicalMemory)}, {"registered", ago(m.Registered) + " ago"},
				} {
					t.rows = append(t.rows, r)
				}
				for _, w := range m.Workers {
					t.rows = append(t.rows, []string{"worker " + w.ID, fmt.Sprintf("job %s attempt %d pid %d", short(w.JobID), w.Attempt, w.PID)})
				}
				return t
			})
		},
	}
}

func (a *app) clusterCommands() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Look at the cluster as a whole"}
	c.AddCommand(&cobra.Command{
		Use: "info", Short: "Describe the cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := a.client().Overview(c.Context())
			if err != nil {
				return err
			}
			return a.print(o, func() table {
				return table{header: []string{"FIELD", "VALUE"}, rows: [][]string{
					{"version", o.Version},
					{"leader", fmt.Sprintf("%s (epoch %d)", o.Leader, o.Epoch)},
					{"rest", a.client().Base()},
					{"control", o.Control},
					{"taskmanagers", fmt.Sprint(o.TaskManagers)},
					{"slots", fmt.Sprintf("%d of %d free", o.SlotsAvailable, o.SlotsTotal)},
					{"jobs", fmt.Sprintf("%d running, %d finished, %d cancelled, %d failed", o.JobsRunning, o.JobsFinished, o.JobsCancelled, o.JobsFailed)},
					{"age", ago(o.StartTime)},
				}}
			})
		},
	})
	return c
}

// logPieceBytes is how much of a log is asked for at once.
const logPieceBytes = 256 << 10

func (a *app) logsCommand() *cobra.Command {
	var taskmanager, worker string
	var tail int64
	var follow bool
	c := &cobra.Command{
		Use: "logs [JOB]", Short: "Print the logs of a job's workers, or of a taskmanager", Args: cobra.MaximumNArgs(1),
		Example: "  flinkctl logs orders\n  flinkctl logs orders --follow\n  flinkctl logs --taskmanager tm-1",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && taskmanager == "" {
				return usagef("name a JOB, or a taskmanager with --taskmanager ID")
			}
			sources, err := a.logSources(c.Context(), args, taskmanager, worker)
			if err != nil {
				return err
			}
			return a.copyLogs(c.Context(), sources, tail, follow)
		},
	}
	c.Flags().StringVar(&taskmanager, "taskmanager", "", "only of this taskmanager; without JOB: its own log")
	c.Flags().StringVar(&worker, "worker", "", "only of this worker (also one that has ended)")
	c.Flags().Int64Var(&tail, "tail-bytes", 64<<10, "start this many bytes before the end (-1: at the beginning)")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows")
	return c
}

type logSource struct {
	taskmanager, job, worker string
	offset                   int64
}

func (a *app) logSources(ctx context.Context, args []string, taskmanager, worker string) ([]*logSource, error) {
	if len(args) == 0 {
		return []*logSource{{taskmanager: taskmanager}}, nil
	}
	o, err := a.findJob(ctx, args[0])
	if err != nil {
		return nil, err
	}
	list, err := a.client().TaskManagers(ctx)
	if err != nil {
		return nil, err
	}
	var out []*logSource
	for _, m := range list {
		if taskmanager == "" || m.ID == taskmanager {
			out = append(out, &logSource{taskmanager: m.ID, job: o.ID, worker: worker})
		}
	}
	if len(out) == 0 {
		return nil, exitWith(exitNotFound, coded("LEAT0404", "no such taskmanager is registered", "flinkctl taskmanager list"))
	}
	return out, nil
}

// copyLogs prints what each source has, then follows. A taskmanager that has
// no log of the job is no error unless none has.
func (a *app) copyLogs(ctx context.Context, sources []*logSource, tail int64, follow bool) error {
	var firstErr error
	found := 0
	for _, s := range sources {
		s.offset = -tail
		if tail < 0 {
			s.offset = 0
		}
		if err := a.copyLog(ctx, s, len(sources) > 1); err != nil {
			if firstErr == nil {
				firstErr = err
			}
			continue
		}
		found++
	}
	if found == 0 {
		return firstErr
	}
	for follow {
		if err := pause(ctx); err != nil {
			return nil
		}
		for _, s := range sources {
			if err := a.copyLog(ctx, s, len(sources) > 1); err != nil && a.verbose {
				fmt.Fprintln(a.err, err)
			}
		}
	}
	return nil
}

func (a *app) copyLog(ctx context.Context, s *logSource, prefix bool) error {
	for {
		data, total, err := a.client().Log(ctx, s.taskmanager, s.job, s.worker, s.offset, logPieceBytes)
		if err != nil {
			return err
		}
		if s.offset < 0 {
			s.offset = max(0, total+s.offset)
		}
		s.offset += int64(len(data))
		text := string(data)
		if prefix && text != "" {
			text = s.taskmanager + " | " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+s.taskmanager+" | ") + "\n"
		}
		if _, err := fmt.Fprint(a.out, text); err != nil {
			return err
		}
		if len(data) == 0 || s.offset >= total {
			return nil
		}
	}
}
