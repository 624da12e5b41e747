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
	"slices"
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
	args        []string // of the command line, without the program's name
}

// Main runs flinkctl with the given arguments and returns its exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: in, out: out, err: errOut, args: args, interactive: isTerminal(in) && isTerminal(errOut)}
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
	a.output = outputAsked(args, a.output)
	return a.report(err)
}

// Tree returns the paths of all verbs ("job list"), for tests and docs.
func Tree() []string {
	var out []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.Hidden && !c.HasSubCommands() && c.Name() != "help" {
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
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if !slices.Contains(outputs(), a.output) {
			return usagef("output %q is not one of %s", a.output, strings.Join(outputs(), ", "))
		}
		return checkEmpty(c)
	}
	f := root.PersistentFlags()
	f.StringVar(&a.jobmanager, "jobmanager", envOr("LEAT_JOBMANAGER", defaultJobmanager), "address of the jobmanager's REST API (LEAT_JOBMANAGER)")
	f.StringVarP(&a.output, "output", "o", "table", "table, wide, name, json, yaml or jsonl")
	f.BoolVar(&a.noHeaders, "no-headers", false, "print tables without their first line")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "print stacks and details of errors")
	f.BoolVar(&a.yes, "yes", false, "answer every question with yes")
	f.StringVar(&a.confirm, "confirm", "", "with --yes: the name of what loses its state")
	root.AddCommand(a.localCommands(), a.bundleCommands(), a.runCommand("run"), a.jobCommands(), a.diagnose(), a.checkpointCommands(), a.stateCommands(),
		a.savepointCommands(), a.taskmanagerCommands(), a.clusterCommands(), a.logsCommand(), a.kafkaCommands(), a.versionCommand())
	root.AddCommand(a.shortcuts()...)
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(helpTemplate)
	root.InitDefaultCompletionCmd("completion")
	root.InitDefaultHelpCmd()
	finish(root)
	nameArguments(root)
	a.completions(root)
	return root
}

// helpTemplate puts examples first and what all verbs share on one line.
const helpTemplate = `{{with or .Long .Short}}{{.}}

{{end}}{{if .HasExample}}{{.Example}}

{{end}}Usage: {{.UseLine}}{{if .HasAvailableSubCommands}}{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{if and .HasParent .HasAvailableLocalFlags}}{{.LocalNonPersistentFlags.FlagUsages}}{{end}}{{if .HasParent}}All verbs: --jobmanager URL, -o table|wide|name|json|yaml|jsonl, --no-headers, --yes, --confirm NAME, -v
{{else}}{{.LocalFlags.FlagUsages}}{{end}}`

// finish makes nouns refuse what is no verb of theirs, and keeps the order in
// which flags were given their place.
func finish(c *cobra.Command) {
	c.Flags().SortFlags = false
	c.DisableFlagsInUseLine = true
	c.SuggestionsMinimumDistance = 2
	if c.HasParent() && c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.Args = noSuchCommand
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, s := range c.Commands() {
		finish(s)
	}
}

// flagError names an unknown verb before an unknown flag of it.
func flagError(c *cobra.Command, err error) error {
	if words := c.Flags().Args(); len(words) > 0 && c.HasSubCommands() {
		if err := noSuchCommand(c, words); err != nil && c.Annotations[takesJob] == "" {
			return err
		}
	}
	return usagef("%v (see %s --help)", err, c.CommandPath())
}

// outputAsked finds the form asked for when the command line could not be
// parsed to its end: errors are JSON then, too.
func outputAsked(args []string, parsed string) string {
	if parsed != "table" {
		return parsed
	}
	for i, arg := range args {
		if arg == "--" {
			break
		}
		value := ""
		switch {
		case (arg == "-o" || arg == "--output") && i+1 < len(args):
			value = args[i+1]
		case strings.HasPrefix(arg, "--output="):
			value = strings.TrimPrefix(arg, "--output=")
		case strings.HasPrefix(arg, "-o"):
			value = strings.TrimPrefix(strings.TrimPrefix(arg, "-o"), "=")
		}
		if slices.Contains(outputs(), value) {
			return value
		}
	}
	return parsed
}

// noSuchCommand refuses an unknown verb before its flags are looked at.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := nearest(c, args[0]); near != "" {
		msg += fmt.Sprintf(": did you mean %q?", near)
	}
	return usagef("%s", msg)
}

// nearest is the verb of c that is most like what was typed, or "".
func nearest(c *cobra.Command, typed string) string {
	near, least := "", 3
	for _, name := range c.SuggestionsFor(typed) {
		if d := distance(typed, name); d < least {
			near, least = name, d
		}
	}
	return near
}

// distance counts the letters to add, drop or change to make a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = 1 + min(left, row[j], row[j+1])
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}

func (a *app) client() *restapi.Client { return a.clientFor(2 * time.Minute) }

// patientClient is for answers that may take any time, as long as ctx allows.
func (a *app) patientClient() *restapi.Client { return a.clientFor(0) }

func (a *app) clientFor(timeout time.Duration) *restapi.Client {
	base := a.jobmanager
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return restapi.NewClient(base, &http.Client{Timeout: timeout})
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
				t := table{header: []string{"PART", "VERSION"}, rows: [][]string{{"client", v["client"]}}, names: []string{v["client"]}}
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
	list, stop, cancel, info := a.jobList(), a.jobStop(), a.jobCancel(), a.infoCommand()
	list.Short = "Short for job list"
	stop.Short = "Short for job stop"
	cancel.Short = "Short for job cancel"
	// savepoint and checkpoint are nouns with verbs: a bare job after them
	// means Flink's verb (see savepointCommands).
	return []*cobra.Command{list, stop, cancel, info}
}
