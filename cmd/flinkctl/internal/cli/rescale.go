package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) jobRescale() *cobra.Command {
	var vertices []string
	var noWait bool
	c := &cobra.Command{
		Use: "rescale JOB [PARALLELISM|auto]", Short: "Change the parallelism of a running job; it goes on from a checkpoint",
		Args: cobra.RangeArgs(1, 2),
		Example: `  flinkctl job rescale orders 8
  flinkctl job rescale orders auto                  # it follows the slots from now on
  flinkctl job rescale orders --vertex enrich=16    # this vertex alone, by an operator's UID or name`,
		RunE: func(c *cobra.Command, args []string) error {
			req, err := rescaleRequest(args[1:], vertices)
			if err != nil {
				return err
			}
			o, err := a.findJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			t, err := a.client().Rescale(c.Context(), o.ID, req)
			if err != nil {
				return err
			}
			if noWait {
				return a.print(t, func() table {
					return table{header: []string{"JOB", "REQUEST"}, rows: [][]string{{o.Name, t.RequestID}}, names: []string{t.RequestID}}
				})
			}
			return a.awaitRescale(c.Context(), o, t.RequestID)
		},
	}
	c.Flags().StringArrayVar(&vertices, "vertex", nil, "NAME=N: the parallelism of one vertex, named by its id or by the UID or name of an operator in it (repeatable)")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return once it was asked for")
	return c
}

// autoParallelism stands for a number that follows the slots.
const autoParallelism = "auto"

// parallelismFlag is a number or auto.
type parallelismFlag struct{ req *restapi.RunRequest }

// String implements pflag.Value.
func (p parallelismFlag) String() string {
	switch {
	case p.req == nil || !p.req.Auto && p.req.Parallelism == 0:
		return ""
	case p.req.Auto:
		return autoParallelism
	}
	return strconv.Itoa(p.req.Parallelism)
}

// Set implements pflag.Value.
func (p parallelismFlag) Set(text string) error {
	if p.req.Auto = text == autoParallelism; p.req.Auto {
		p.req.Parallelism = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is neither a number nor auto", text)
	}
	p.req.Parallelism = n
	return nil
}

// Type implements pflag.Value.
func (parallelismFlag) Type() string { return "N|auto" }

// rescaleRequest reads what is wanted.
func rescaleRequest(args, vertices []string) (restapi.RescaleRequest, error) {
	var req restapi.RescaleRequest
	number := func(what, text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return 0, exitWith(exitUsage, coded("LEAT0400", fmt.Sprintf("%s %q is not a number from 1", what, text)))
		}
		return n, nil
	}
	var err error
	if len(args) > 0 && args[0] == autoParallelism {
		return restapi.RescaleRequest{Auto: true}, nil
	}
	if len(args) > 0 {
		if req.Parallelism, err = number("parallelism", args[0]); err != nil {
			return req, err
		}
	}
	for _, v := range vertices {
		i := strings.LastIndexByte(v, '=')
		if i < 1 {
			return req, exitWith(exitUsage, coded("LEAT0400", fmt.Sprintf("--vertex %q is not NAME=N", v), "for instance --vertex enrich=16"))
		}
		n, err := number("the parallelism of vertex "+v[:i], v[i+1:])
		if err != nil {
			return req, err
		}
		if req.Vertices == nil {
			req.Vertices = make(map[string]int)
		}
		req.Vertices[v[:i]] = n
	}
	if req.Parallelism == 0 && len(req.Vertices) == 0 {
		return req, exitWith(exitUsage, coded("LEAT0400", "no parallelism is given", "flinkctl job rescale JOB 4", "flinkctl job rescale JOB --vertex enrich=4"))
	}
	return req, nil
}

// awaitRescale waits until the job runs as was wanted, and says what it waits
// for meanwhile.
func (a *app) awaitRescale(ctx context.Context, o restapi.JobOverview, request string) error {
	said := ""
	_, err := a.await(ctx, func() (restapi.OperationStatus, error) {
		if j, err := a.client().Job(ctx, o.ID); err == nil && j.StateReason != "" && j.StateReason != said {
			said = j.StateReason
			fmt.Fprintf(a.err, "job %s: %s\n", o.Name, said)
		}
		return a.client().RescaleStatus(ctx, o.ID, request)
	})
	if err != nil {
		return err
	}
	return a.printState(ctx, o.ID)
}
