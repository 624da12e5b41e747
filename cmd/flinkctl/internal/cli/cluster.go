package cli

import (
	"bytes"
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
				t := table{header: []string{"FIELD", "VALUE"}, names: []string{m.ID}, rows: [][]string{
					{"id", m.ID}, {"host", m.Host}, {"address", m.Path}, {"platform", m.Platform}, {"version", m.Version},
					{"slots", fmt.Sprintf("%d of %d free", m.FreeSlots, m.SlotsNumber)}, {"pid", fmt.Sprint(m.PID)},
					{"memory", size(m.MemoryUsed) + " of " + size(m.Hardware.PhysicalMemory)}, {"registered", ago(m.Registered) + " ago"},
				}}
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
				return table{header: []string{"FIELD", "VALUE"}, names: []string{a.client().Base()}, rows: [][]string{
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
			if follow && (a.output == "json" || a.output == "yaml") {
				return usagef("--follow has no end, so it cannot be one %s value: use -o jsonl", a.output)
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
	rest                     string // of a line that was cut between two pieces
}

func (a *app) logSources(ctx context.Context, args []string, taskmanager, worker string) ([]*logSource, error) {
	if len(args) == 0 {
		return []*logSource{{taskmanager: taskmanager}}, nil
	}
	o, err := a.lookAtJob(ctx, args[0])
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
	p := &logPrinter{app: a, prefix: len(sources) > 1, lines: []logLine{}}
	for _, s := range sources {
		s.offset = -tail
		if tail < 0 {
			s.offset = 0
		}
		if err := a.copyLog(ctx, s, p); err != nil {
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
	if err := p.flush(); err != nil {
		return err
	}
	for follow {
		if err := pause(ctx); err != nil {
			return nil
		}
		for _, s := range sources {
			if err := a.copyLog(ctx, s, p); err != nil && a.verbose {
				fmt.Fprintln(a.err, err)
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// logLine is a line of a log in -o json.
type logLine struct {
	TaskManager string `json:"taskmanager"`
	Line        string `json:"line"`
}

// logPrinter prints whole lines in the form asked for.
type logPrinter struct {
	app    *app
	prefix bool      // name the taskmanager
	lines  []logLine // not printed yet; -o name prints each taskmanager once
}

func (p *logPrinter) add(s *logSource, text string) {
	for line := range strings.Lines(text) {
		p.lines = append(p.lines, logLine{s.taskmanager, strings.TrimSuffix(line, "\n")})
	}
}

func (p *logPrinter) flush() error {
	lines := p.lines
	p.lines = []logLine{}
	switch p.app.output {
	case "json", "yaml", "jsonl":
		return p.app.print(lines, nil)
	case "name":
		for i, l := range lines {
			if i == 0 || lines[i-1].TaskManager != l.TaskManager {
				fmt.Fprintln(p.app.out, l.TaskManager)
			}
		}
		return nil
	}
	for _, l := range lines {
		text := l.Line
		if p.prefix {
			text = l.TaskManager + " | " + text
		}
		if _, err := fmt.Fprintln(p.app.out, text); err != nil {
			return err
		}
	}
	return nil
}

// copyLog reads what is new. A line that is not whole yet is left for the
// next look, unless the log grows no more in this call.
func (a *app) copyLog(ctx context.Context, s *logSource, p *logPrinter) error {
	for {
		data, total, err := a.client().Log(ctx, s.taskmanager, s.job, s.worker, s.offset, logPieceBytes)
		if err != nil {
			return err
		}
		if s.offset < 0 {
			s.offset = max(0, total+s.offset)
			// The tail begins in the middle of a line.
			if i := bytes.IndexByte(data, '\n'); s.offset > 0 && i >= 0 {
				s.offset, data = s.offset+int64(i)+1, data[i+1:]
			}
		}
		s.offset += int64(len(data))
		text := s.rest + string(data)
		s.rest = ""
		if i := strings.LastIndexByte(text, '\n'); i >= 0 && s.offset < total {
			s.rest, text = text[i+1:], text[:i+1]
		}
		p.add(s, text)
		if len(data) == 0 || s.offset >= total {
			return nil
		}
	}
}
