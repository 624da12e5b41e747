package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) checkpointCommands() *cobra.Command {
	c := &cobra.Command{Use: "checkpoint", Short: "List, look at and trigger checkpoints", Annotations: jobNoun()}
	c.Args, c.RunE = nounOrJob("JOB"), func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return verbOf(c, args, a.triggerCheckpoint(c.Context(), args[0]))
	}
	c.AddCommand(a.checkpointList(), a.checkpointGet(), a.checkpointTrigger())
	return c
}

func (a *app) checkpointList() *cobra.Command {
	return &cobra.Command{
		Use: "list JOB", Aliases: []string{"ls"}, Short: "List the newest checkpoints of a job", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.checkpointsOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(s.History, func() table { return checkpointTable(s.History, "No checkpoint yet.") })
		},
	}
}

func (a *app) checkpointsOf(ctx context.Context, job string) (restapi.Checkpoints, error) {
	o, err := a.lookAtJob(ctx, job)
	if err != nil {
		return restapi.Checkpoints{}, err
	}
	return a.client().Checkpoints(ctx, o.ID)
}

func checkpointTable(list []restapi.Checkpoint, empty string) table {
	t := table{header: []string{"ID", "TYPE", "STATUS", "AGE", "DURATION", "WRITTEN", "STATE", "ACKED", "PATH"}, empty: empty}
	for _, cp := range list {
		where := cp.ExternalPath
		if cp.FailureMessage != "" {
			where = cp.FailureMessage
		}
		t.rows = append(t.rows, []string{
			strconv.FormatInt(cp.ID, 10), cp.Type, cp.Status, ago(cp.TriggerTimestamp), span(cp.Duration), size(cp.CheckpointedSize), size(cp.StateSize),
			fmt.Sprintf("%d/%d", cp.Acknowledged, cp.Subtasks), dash(where),
		})
	}
	return t
}

func (a *app) checkpointGet() *cobra.Command {
	return &cobra.Command{
		Use: "get JOB ID|last", Short: "Describe one checkpoint", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.checkpointsOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			for _, cp := range s.History {
				if strconv.FormatInt(cp.ID, 10) == args[1] || args[1] == "last" && cp.Status == "COMPLETED" {
					return a.print(cp, func() table { return checkpointTable([]restapi.Checkpoint{cp}, "") })
				}
			}
			return exitWith(exitNotFound, coded("LEAT0404", fmt.Sprintf("checkpoint %s is not in the job's history", args[1]), "flinkctl checkpoint list "+args[0]))
		},
	}
}

func (a *app) checkpointTrigger() *cobra.Command {
	return &cobra.Command{
		Use: "trigger JOB", Short: "Take a checkpoint now", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.triggerCheckpoint(c.Context(), args[0]) },
	}
}

func (a *app) triggerCheckpoint(ctx context.Context, job string) error {
	o, err := a.findJob(ctx, job)
	if err != nil {
		return err
	}
	t, err := a.client().Checkpoint(ctx, o.ID)
	if err != nil {
		return err
	}
	op, err := a.await(ctx, func() (restapi.OperationStatus, error) { return a.client().CheckpointStatus(ctx, o.ID, t.RequestID) })
	if err != nil {
		return err
	}
	return a.print(op, func() table {
		id := strconv.FormatInt(op.CheckpointID, 10)
		return table{header: []string{"JOB", "CHECKPOINT"}, rows: [][]string{{o.Name, id}}, names: []string{id}}
	})
}

// takesJob marks a noun after which a bare job means Flink's verb.
const takesJob = "takes-job"

func jobNoun() map[string]string { return map[string]string{takesJob: "yes"} }

// nounOrJob takes nothing, or a job and what words name besides, after a noun.
func nounOrJob(words ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > len(words) {
			return noSuchCommand(c, args)
		}
		return emptyArgument(words, args)
	}
}

// verbOf adds to the error about a job that is none which verb was meant.
func verbOf(c *cobra.Command, args []string, err error) error {
	var e *restapi.Error
	if exitCode(err) == exitNotFound && errors.As(err, &e) {
		if near := nearest(c, args[0]); near != "" {
			e.Fix = append(e.Fix, fmt.Sprintf("or did you mean %s %s?", c.CommandPath(), near))
		}
	}
	return err
}

// await polls an operation until it is done.
func (a *app) await(ctx context.Context, poll func() (restapi.OperationStatus, error)) (*restapi.Operation, error) {
	var away patience
	for {
		s, err := poll()
		if away.ends(err) {
			return nil, err
		}
		if err == nil && s.Status.ID == "COMPLETED" {
			if s.Operation.Error != nil {
				return nil, s.Operation.Error
			}
			return s.Operation, nil
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

func (a *app) savepointCommands() *cobra.Command {
	c := &cobra.Command{Use: "savepoint", Short: "Create, list, inspect, export, check and delete savepoints", Annotations: jobNoun()}
	c.Args, c.RunE = nounOrJob("JOB", "DIR"), func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		return verbOf(c, args, a.takeSavepoint(c.Context(), args[0], strings.Join(args[1:], "")))
	}
	c.AddCommand(a.savepointCreate(), a.savepointList(), a.savepointInspect(), a.savepointExport(), a.savepointCheck(), a.savepointDelete())
	return c
}

func (a *app) savepointCreate() *cobra.Command {
	var target string
	c := &cobra.Command{
		Use: "create JOB", Short: "Take a savepoint; the job goes on", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.takeSavepoint(c.Context(), args[0], target) },
	}
	c.Flags().StringVarP(&target, "savepoint-path", "p", "", "where it goes (a URI); default: the job's folder in the checkpoint storage")
	return c
}

func (a *app) takeSavepoint(ctx context.Context, job, target string) error {
	o, err := a.findJob(ctx, job)
	if err != nil {
		return err
	}
	t, err := a.client().Savepoint(ctx, o.ID, restapi.SavepointRequest{TargetDirectory: target})
	if err != nil {
		return err
	}
	op, err := a.awaitSavepoint(ctx, o, t.RequestID)
	if err != nil {
		return err
	}
	return a.printSavepoint(o, op)
}

func (a *app) awaitSavepoint(ctx context.Context, o restapi.JobOverview, request string) (*restapi.Operation, error) {
	return a.await(ctx, func() (restapi.OperationStatus, error) { return a.client().SavepointStatus(ctx, o.ID, request) })
}

func (a *app) printSavepoint(o restapi.JobOverview, op *restapi.Operation) error {
	return a.print(op, func() table {
		return table{header: []string{"JOB", "SAVEPOINT"}, rows: [][]string{{o.Name, op.Location}}, names: []string{op.Location}}
	})
}

func (a *app) savepointList() *cobra.Command {
	return &cobra.Command{
		Use: "list JOB", Aliases: []string{"ls"}, Short: "List the savepoints of a job", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			list, err := a.client().Savepoints(c.Context(), o.ID)
			if err != nil {
				return err
			}
			return a.print(list, func() table {
				t := checkpointTable(list, "No savepoints.")
				t.names = []string{}
				for _, s := range list {
					t.names = append(t.names, s.ExternalPath)
				}
				return t
			})
		},
	}
}

func (a *app) savepointDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete PATH", Aliases: []string{"dispose"}, Short: "Delete a savepoint for good", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			// Whoever is asked has to see of what; else the answer tells.
			question := "Delete the savepoint for good? Its state is lost."
			if v, err := a.client().SavepointContents(c.Context(), args[0]); err == nil {
				question = fmt.Sprintf("Delete %s %d of job %s, %s of state as of %s ago, for good? It is lost.", v.Kind, v.Checkpoint, v.Job, size(v.Bytes), ago(v.Created))
			}
			if err := a.askName(question, args[0]); err != nil {
				return err
			}
			d, err := a.client().DeleteSavepoint(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(map[string]any{"deleted": args[0], "objects": d.Objects, "bytes": d.Bytes}, func() table {
				return table{header: []string{"FREED", "OBJECTS", "DELETED"}, rows: [][]string{{size(d.Bytes), strconv.Itoa(d.Objects), args[0]}}, names: []string{args[0]}}
			})
		},
	}
}

// askName wants the name of what loses its state: typed, or by --confirm.
func (a *app) askName(question, name string) error {
	if a.yes && a.confirm == name {
		return nil
	}
	if !a.interactive || a.yes {
		return exitWith(exitUsage, coded("LEAT0003", question, "say --yes --confirm "+name))
	}
	fmt.Fprintf(a.err, "%s Type its name (%s): ", question, name)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil || answer != name {
		return exitWith(exitFailed, coded("LEAT0004", "not confirmed: nothing was done"))
	}
	return nil
}
