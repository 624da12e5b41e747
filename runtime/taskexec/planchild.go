package taskexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

const (
	// graphMax bounds the JSON of a graph from a plan child.
	graphMax = 32 << 20
	// planWatch is how often a plan child's memory is looked at.
	planWatch = 50 * time.Millisecond
)

// Plan implements Launcher: the program runs in an empty folder with its
// recorded inputs, a limit in time (ctx) and memory, and writes its graph to
// a pipe. What it prints is kept for the error only.
func (l *ProcessLauncher) Plan(ctx context.Context, req *controlv1.PlanRequest, dir string) *controlv1.PlanResult {
	result := &controlv1.PlanResult{RequestId: req.GetRequestId()}
	out, err := l.plan(ctx, req, dir)
	if err == nil && out.Error == nil {
		err = checkPlan(out)
	}
	switch {
	case err != nil:
		result.Error = errorInfo(err, CodePlanFailed, "the program could not be planned")
	case out.Error != nil:
		e := out.Error
		result.Error = &controlv1.ErrorInfo{Code: e.Code, What: e.What, Where: e.Where, Why: e.Why, Fix: e.Fix}
	default:
		result.Graph, result.Fingerprint = out.Graph, out.Fingerprint
	}
	return result
}

func checkPlan(out *PlanOutput) error {
	g, err := graph.Unmarshal(out.Graph)
	if err != nil {
		return err
	}
	if f := g.Fingerprint(); f != out.Fingerprint {
		return fmt.Errorf("the graph has fingerprint %s, the program says %s", f, out.Fingerprint)
	}
	return nil
}

func (l *ProcessLauncher) plan(ctx context.Context, req *controlv1.PlanRequest, dir string) (*PlanOutput, error) {
	program, release, err := l.cfg.Cache.Acquire(ctx, req.GetBundle())
	if err != nil {
		return nil, planTimedOut(ctx, err, nil)
	}
	defer release()
	inputs := dir + ".inputs"
	if err := writeInputs(inputs, req.GetInputs()); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(inputs) }() // scratch
	cmd := exec.Command(program, req.GetInputs().GetArgs()...)
	cmd.Dir = dir
	cmd.Env = l.environment(req.GetInputs(), nil, map[string]string{
		EnvRole: RolePlan, EnvInputs: inputs, EnvLifeline: "3", EnvResult: "4",
		"GOMEMLIMIT": strconv.FormatInt(int64(float64(l.cfg.PlanMemoryBytes)*heapShare), 10) + "B",
	})
	printed := &tail{}
	cmd.Stdout, cmd.Stderr = printed, printed
	return l.runPlan(ctx, cmd, printed)
}

func (l *ProcessLauncher) runPlan(ctx context.Context, cmd *exec.Cmd, printed *tail) (*PlanOutput, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("planning: %w", err)
	}
	defer func() { _ = ours.Close() }() // read to its end
	p, err := l.spawn(cmd, theirs)
	_ = theirs.Close() // the child has its own
	if err != nil {
		return nil, err
	}
	exited, watched := make(chan struct{}), make(chan string, 1)
	go func() { watched <- l.watchPlan(ctx, p, exited) }()
	raw, readErr := readResult(ours, p)
	exit := p.Wait()
	close(exited)
	why := <-watched
	switch {
	case why == CodePlanMemory:
		return nil, planError(CodePlanMemory, fmt.Sprintf("the program needed more than %d MiB to build its graph", l.cfg.PlanMemoryBytes>>20),
			printed, "build the graph without loading data: sources read when the job runs")
	case why != "":
		return nil, planTimedOut(ctx, ctx.Err(), printed)
	case readErr != nil:
		return nil, readErr
	case len(raw) == 0:
		return nil, planError(CodePlanFailed, "the program ended without a job graph ("+describeExit(exit)+")",
			printed, "call launch.Main from main, before anything that ends the program")
	}
	out := &PlanOutput{}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("the program's answer is no plan: %w", err)
	}
	return out, nil
}

// readResult reads the answer; one that is too long ends the program.
func readResult(r io.Reader, p *process) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, graphMax+1))
	if err != nil {
		return nil, fmt.Errorf("planning: %w", err)
	}
	if len(raw) > graphMax {
		p.Kill()
		return nil, &jobview.Error{Code: CodeGraphSize, Kind: jobview.KindInvalid,
			What: fmt.Sprintf("the job graph has more than %d MiB", graphMax>>20), Fix: []string{"build a smaller graph"}}
	}
	return raw, nil
}

// watchPlan kills the child at the end of ctx or of its memory and says why;
// it ends with the child.
func (l *ProcessLauncher) watchPlan(ctx context.Context, p *process, exited <-chan struct{}) string {
	for {
		timer := l.cfg.Clock.NewTimer(planWatch)
		select {
		case <-exited:
			timer.Stop()
			return ""
		case <-ctx.Done():
			timer.Stop()
			p.Kill()
			return CodePlanTimeout
		case <-timer.C():
			if p.Memory() > l.cfg.PlanMemoryBytes {
				p.Kill()
				return CodePlanMemory
			}
		}
	}
}

func planTimedOut(ctx context.Context, err error, printed *tail) error {
	if ctx.Err() == nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errPlanAbandoned) {
		return fmt.Errorf("planning: %w", errPlanAbandoned)
	}
	return planError(CodePlanTimeout, "the program did not build its graph in time", printed,
		"keep main free of waiting and of network calls: it runs in every process of the job")
}

// errPlanAbandoned is the cause of a plan's end when nobody waits for it.
var errPlanAbandoned = errors.New("the plan is not wanted any more")

func planError(code, what string, printed *tail, fix string) error {
	e := &jobview.Error{Code: code, What: what, Kind: jobview.KindInvalid, Fix: []string{fix}}
	if printed != nil {
		if text := strings.TrimSpace(printed.String()); text != "" {
			e.Why = "it printed: " + text
		}
	}
	return e
}

func describeExit(e Exit) string {
	if e.Signal != "" {
		return "signal: " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}
