package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stage names a part of the work and functions that belong to it. A sample
// belongs to the stage of its innermost function that has one.
type stage struct {
	name      string
	functions []string
}

func stages() []stage {
	return []stage{
		{"garbage collection", []string{"runtime.gcBgMarkWorker", "runtime.gcAssist", "runtime.bgsweep", "runtime.bgscavenge", "runtime.wbBufFlush", "runtime.gcStart"}},
		{"fetch", []string{"connectors/kafka.(*fetcher)", "connectors/kafka.(*puller)", "kwire.(*Conn).read", "kwire.(*Conn).Fetch", "kwire.readFetch"}},
		{"checksum and iteration", []string{"krecord.(*Iter)"}},
		{"decode", []string{"jsonfmt.(*Decoder"}},
		{"encode", []string{"jsonfmt.(*Encoder"}},
		{"produce", []string{"connectors/kafka/kproduce.", "connectors/kafka.(*writer", "connectors/kafka.(*slots)", "connectors/kafka.(*sealedTxn)", "operators/sinkop.", "kwire."}},
		{"route and exchange", []string{"runtime/exchange", "columnar.(*rowType", "google.golang.org/grpc"}},
		{"window", []string{"operators/window.", "state/memstate."}},
		{"filter and map", []string{"operators/rowop."}},
		{"read: batches of rows", []string{"connectors/kafka.(*reader"}},
		{"source: times and watermarks", []string{"operators/sourceop."}},
		{"checkpoint", []string{"checkpoint/", "runtime/task.(*Task).snapshot", "runtime/ctlrpc."}},
		{"task loop", []string{"runtime/task.", "runtime/worker.", "runtime/mailbox."}},
	}
}

const otherStage = "everything else"

// stageOf returns the stage of a stack, innermost function first.
func stageOf(stack []string) string {
	for _, fn := range stack {
		for _, s := range stages() {
			if slices.ContainsFunc(s.functions, func(part string) bool { return strings.Contains(fn, part) }) {
				return s.name
			}
		}
	}
	return otherStage
}

// splitByStage runs the job once more with a CPU profile of its workers and
// prints what each stage takes of an order's time.
func (b *bench) splitByStage(ctx context.Context, brokers string, l loaded) error {
	if b.profile == "" {
		b.profile = filepath.Join(b.dir, "profiles")
		defer func() { b.profile = "" }()
	}
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.one(ctx, "profiled", brokers, l, b.interval); err != nil {
		return err
	}
	entries, err := os.ReadDir(b.profile)
	if err != nil {
		return err
	}
	total := make(map[string]time.Duration)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.ModTime().Before(began) {
			continue
		}
		if err := addProfile(ctx, filepath.Join(b.profile, e.Name()), total); err != nil {
			return err
		}
	}
	var sum time.Duration
	for _, d := range total {
		sum += d
	}
	if sum == 0 {
		return errors.New("the worker wrote no profile")
	}
	b.rep.printf("the worker's time by stage, of a run of its own with a profile:\n")
	for _, s := range append(stages(), stage{name: otherStage}) {
		d := total[s.name]
		b.rep.printf("  %-30s %6.1f ns an order  %5.1f %%\n", s.name, float64(d.Nanoseconds())/float64(b.orders), 100*d.Seconds()/sum.Seconds())
	}
	b.rep.printf("  %-30s %6.1f ns an order\n", "sum", float64(sum.Nanoseconds())/float64(b.orders))
	return nil
}

// addProfile adds the samples of a profile to their stages. The text of `go
// tool pprof -traces` has a line of dashes before each stack; its first line
// begins with the time of the stack.
func addProfile(ctx context.Context, path string, total map[string]time.Duration) error {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", "-unit=ms", path).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof %s: %w", path, err)
	}
	_, text, found := strings.Cut(string(out), "-----------+")
	if !found {
		return fmt.Errorf("%s has no samples", path)
	}
	for _, block := range strings.Split(text, "-----------+") {
		var took time.Duration
		var stack []string
		for i, line := range strings.Split(block, "\n")[1:] {
			f := strings.Fields(line)
			if i == 0 && len(f) >= 2 {
				if took, err = time.ParseDuration(f[0]); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				f = f[1:]
			}
			if len(f) > 0 {
				stack = append(stack, strings.Join(f, " "))
			}
		}
		total[stageOf(stack)] += took
	}
	return nil
}
