package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) runCommand(use string) *cobra.Command {
	var req restapi.RunRequest
	var wait, like string
	var properties, environment []string
	var timeout time.Duration
	c := &cobra.Command{
		Use: use + " BUNDLE [-- job args]", Short: "Submit a bundle as a job",
		Example: "  flinkctl run orders.bundle --parallelism 4 -- --brokers 127.0.0.1:9092\n  flinkctl run orders.bundle --from-savepoint file:///…/sp-3",
		Args: func(c *cobra.Command, args []string) error {
			if n := positional(c, args); n != 1 {
				return usagef("run takes one BUNDLE, then -- and the job's own arguments; it got %d", n)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"running", "finished", "detach"}, wait) {
				return usagef("--wait %q is not one of running, finished, detach", wait)
			}
			req.ProgramArgsList = args[1:]
			if like != "" {
				o, err := a.lookAtJob(c.Context(), like)
				if err != nil {
					return err
				}
				req.Like = o.ID
			}
			var err error
			if req.Configuration, err = pairs("-D", properties); err != nil {
				return err
			}
			if req.Environment, err = environmentOf(environment); err != nil {
				return err
			}
			return a.submit(c.Context(), args[0], req, wait, timeout)
		},
	}
	f := c.Flags()
	f.StringVar(&req.Name, "name", "", "name of the job; default: the program's")
	f.VarP(parallelismFlag{&req}, "parallelism", "p", "parallelism, or auto: as much as there are slots for, also when they change; default: the program's")
	f.StringVarP(&req.SavepointPath, "from-savepoint", "s", "", "start from this savepoint or checkpoint (a URI)")
	f.StringArrayVar(&req.DropState, "drop-state", nil, "UID of an operator whose state in the savepoint may be lost; may be repeated")
	f.BoolVar(&req.AllowDrained, "allow-drained", false, "start from a savepoint whose input was ended by --drain")
	f.StringArrayVarP(&properties, "define", "D", nil, "key=value, read by the job; may be repeated")
	f.StringArrayVar(&environment, "env", nil, "NAME or NAME=value: environment that the job sees; may be repeated")
	f.StringVar(&like, "like", "", "name, parallelism, arguments, -D and --env that are not given are those of this job, which may have ended")
	f.StringVar(&wait, "wait", "running", "return when the job is running or finished, or at once (detach)")
	f.DurationVar(&timeout, "timeout", 0, "give up waiting after this time (0: never); the job goes on")
	return c
}

// positional counts the arguments before "--".
func positional(c *cobra.Command, args []string) int {
	if at := c.ArgsLenAtDash(); at >= 0 {
		return at
	}
	return len(args)
}

func pairs(flag string, list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("%s %q is not key=value", flag, s)
		}
		out[k] = v
	}
	return out, nil
}

func environmentOf(list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			if v, ok = os.LookupEnv(k); !ok {
				return nil, usagef("--env %s: it is not set here", k)
			}
		}
		out[k] = v
	}
	return out, nil
}

func (a *app) submit(ctx context.Context, path string, req restapi.RunRequest, wait string, timeout time.Duration) error {
	up, err := a.upload(ctx, path)
	if err != nil {
		return err
	}
	// The key makes a repeated request, by a lost answer, one job.
	var key [16]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never returns an error
	req.RequestID = hex.EncodeToString(key[:])
	started, err := a.client().Run(ctx, up.ID, req)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "job %s submitted; look at it: flinkctl job get %s\n", started.JobID, short(started.JobID))
	if wait != "detach" {
		if err := a.waitFor(ctx, started.JobID, wait, timeout); err != nil {
			if ctx.Err() != nil {
				fmt.Fprintf(a.err, "detached: the job goes on; flinkctl job wait %s\n", short(started.JobID))
			}
			return err
		}
	}
	return a.printState(ctx, started.JobID)
}

// printState prints a job's name, id and state.
func (a *app) printState(ctx context.Context, id string) error {
	j, err := a.client().Job(ctx, id)
	if err != nil {
		return err
	}
	return a.print(map[string]string{"job": j.ID, "name": j.Name, "state": j.State}, func() table {
		return table{header: []string{"NAME", "ID", "STATE"}, rows: [][]string{{j.Name, j.ID, j.State}}, names: []string{j.ID}}
	})
}
