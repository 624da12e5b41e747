// Package cli is the command tree of flinkctl: what each verb asks of the
// REST API and how the answer is printed. It holds no knowledge of how jobs
// run; local clusters are made by package localcluster.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/runtime/restapi"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitNotReached  = 4
	exitUnreachable = 5
	exitForbidden   = 6
	exitConflict    = 7
	exitJobFailed   = 8
	exitProblems    = 9
	exitInterrupted = 130
)

// defaultJobmanager is the address of a local cluster.
const defaultJobmanager = "http://127.0.0.1:8081"

// app is what the verbs share.
type app struct {
	in          io.Reader
	out, err    io.Writer
	jobmanager  string
	output      string
	noHeaders   bool
	verbose     bool
	yes         bool
	confirm     string
	interactive bool
}

// Main runs flinkctl with the given arguments and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: in, out: out, err: errOut, interactive: isTerminal(in) && isTerminal(errOut)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return a.report(err)
}

// Tree returns the paths of all verbs ("job list"), for tests and docs.
func Tree() []string {
	var out []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.Hidden {
			out = append(out, strings.TrimPrefix(c.CommandPath(), "flinkctl "))
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	for _, c := range (&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}).root().Commands() {
		walk(c)
	}
	return out
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "flinkctl",
		Short: "Build bundles, submit jobs, look after a Leat cluster",
		Example: `  flinkctl local up --kafka                 # a cluster on this machine
  flinkctl bundle build ./examples/orders -o orders.bundle
  flinkctl run orders.bundle -- --brokers 127.0.0.1:9092
  flinkctl job list
  flinkctl job stop orders                  # with a savepoint`,
		SilenceErrors: true, SilenceUsage: true,
		Version: release.Version,
		Args:    noSuchCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usagef("%v (see %s --help)", err, c.CommandPath()) })
	f := root.PersistentFlags()
	f.StringVar(&a.jobmanager, "jobmanager", envOr("LEAT_JOBMANAGER", defaultJobmanager), "address of the jobmanager's REST API (LEAT_JOBMANAGER)")
	f.StringVarP(&a.output, "output", "o", "table", "table, wide, name, json, yaml or jsonl")
	f.BoolVar(&a.noHeaders, "no-headers", false, "print tables without their first line")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "print stacks and details of errors")
	f.BoolVar(&a.yes, "yes", false, "answer every question with yes")
	f.StringVar(&a.confirm, "confirm", "", "with --yes: the name of what loses its state")
	root.AddCommand(a.localCommands(), a.bundleCommands(), a.runCommand("run"), a.jobCommands(), a.checkpointCommands(),
		a.savepointCommands(), a.taskmanagerCommands(), a.clusterCommands(), a.logsCommand(), a.kafkaCommands(), a.versionCommand())
	root.AddCommand(a.shortcuts()...)
	for _, c := range root.Commands() {
		if c.HasSubCommands() && c.Args == nil {
			c.Args = noSuchCommand
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

// noSuchCommand refuses an unknown verb before its flags are looked at.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		msg += fmt.Sprintf(": did you mean %q?", near[0])
	}
	return usagef("%s", msg)
}

func (a *app) client() *restapi.Client {
	base := a.jobmanager
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return restapi.NewClient(base, &http.Client{Timeout: 2 * time.Minute})
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of flinkctl and of the cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := map[string]string{"client": release.Version}
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
			defer cancel()
			if o, err := a.client().Overview(ctx); err == nil {
				v["server"] = o.Version
			}
			return a.print(v, func() table {
				t := table{header: []string{"PART", "VERSION"}, rows: [][]string{{"client", v["client"]}}}
				if s, ok := v["server"]; ok {
					t.rows = append(t.rows, []string{"server", s})
				}
				return t
			})
		},
	}
}

// shortcuts are Flink's flat verbs.
func (a *app) shortcuts() []*cobra.Command {
	list, stop, cancel, savepoint, checkpoint, info := a.jobList(), a.jobStop(), a.jobCancel(), a.savepointCreate(), a.checkpointTrigger(), a.infoCommand()
	list.Short = "Short for job list"
	stop.Short = "Short for job stop"
	cancel.Short = "Short for job cancel"
	// savepoint and checkpoint are nouns with verbs: a bare job after them
	// means Flink's verb.
	_ = savepoint
	_ = checkpoint
	return []*cobra.Command{list, stop, cancel, info}
}
