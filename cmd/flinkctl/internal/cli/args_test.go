package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEmptyFlagsAreRefused: for each verb, each flag that takes a text names
// itself when it is empty, before the verb begins.
func TestEmptyFlagsAreRefused(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, c := range leaves((&app{}).root()) {
		path := strings.Fields(c.CommandPath())[1:]
		args := append(path, required(c)...)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			kind := f.Value.Type()
			if !strings.HasPrefix(kind, "string") || f.Name == "output" {
				return
			}
			tried++
			code, said := dryRun(append(slices.Clone(args), "--"+f.Name, ""))
			if code != exitUsage || !strings.Contains(said, "--"+f.Name+" is empty: ") || !strings.Contains(said, "; leave it out ") {
				t.Errorf("%s --%s '': exit code %d, said\n%s", strings.Join(args, " "), f.Name, code, said)
			}
		})
	}
	if tried < 20 {
		t.Fatalf("only %d flags were tried", tried)
	}
}

// TestArgumentsAreNamed: for each verb, what is missing, too many or empty is
// called by the name that the usage gives it.
func TestArgumentsAreNamed(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, c := range leaves((&app{}).root()) {
		path, need := strings.Fields(c.CommandPath())[1:], required(c)
		// run and info count what comes before -- and say so.
		if strings.Contains(c.Use, "--") {
			need = nil
		}
		for i, word := range need {
			tried++
			code, said := dryRun(append(slices.Clone(path), need[:i]...))
			if code != exitUsage || !strings.Contains(said, ": missing "+strings.Join(need[i:], " and ")+": ") || !strings.Contains(said, c.UseLine()) {
				t.Errorf("%s without %s: exit code %d, said\n%s", c.CommandPath(), word, code, said)
			}
			args := append(slices.Clone(path), need...)
			args[len(path)+i] = ""
			code, said = dryRun(args)
			if word = strings.Trim(word, "."); word != "KEY" && (code != exitUsage || !strings.Contains(said, word+" is empty: ")) {
				t.Errorf("%s with an empty %s: exit code %d, said\n%s", c.CommandPath(), word, code, said)
			}
		}
		if code, said := dryRun(append(slices.Clone(path), "a", "b", "c", "d", "e")); code != exitUsage && !strings.Contains(c.Use, "...") ||
			code == exitUsage && need != nil && !strings.Contains(said, "is one argument too many: ") {
			t.Errorf("%s with too much: exit code %d, said\n%s", c.CommandPath(), code, said)
		}
	}
	if tried < 20 {
		t.Fatalf("only %d arguments were tried", tried)
	}
}

// TestEmptyArguments: after -- they are the job's own; after a noun alone they
// are refused as after its verbs.
func TestEmptyArguments(t *testing.T) {
	t.Parallel()
	if code, said := dryRun([]string{"run", "job.bundle", "--", ""}); code != exitOK {
		t.Errorf("run: exit code %d, said\n%s", code, said)
	}
	for _, noun := range []string{"savepoint", "checkpoint"} {
		if code, said := dryRun([]string{noun, ""}); code != exitUsage || !strings.Contains(said, "JOB is empty") {
			t.Errorf("%s: exit code %d, said\n%s", noun, code, said)
		}
	}
	if code, said := dryRun([]string{"savepoint", "orders", ""}); code != exitUsage || !strings.Contains(said, "DIR is empty") {
		t.Errorf("savepoint: exit code %d, said\n%s", code, said)
	}
}

// dryRun runs flinkctl up to the point at which a verb would begin.
func dryRun(args []string) (code int, said string) {
	var out bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &out}
	root := a.root()
	for _, c := range leaves(root) {
		c.Run, c.RunE = nil, func(*cobra.Command, []string) error { return nil }
	}
	root.SetArgs(args)
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		return a.report(err), out.String()
	}
	return exitOK, out.String()
}

// leaves are the verbs.
func leaves(root *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	var walk func(c *cobra.Command)
	paths := Tree()
	walk = func(c *cobra.Command) {
		if slices.Contains(paths, strings.TrimPrefix(c.CommandPath(), "flinkctl ")) {
			out = append(out, c)
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(root)
	return out
}

// required are the words of a usage that must be there.
func required(c *cobra.Command) []string {
	words, _, _ := strings.Cut(c.Use, "[")
	return strings.Fields(words)[1:]
}
