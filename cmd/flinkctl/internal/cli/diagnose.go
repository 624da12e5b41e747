package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/diagnosis"
	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) diagnose() *cobra.Command {
	return &cobra.Command{
		Use: "diagnose JOB", Short: "Say what holds a job up: slots, failures, checkpoints, an operator, a key or a source",
		Long: `Say why a job does not do what is expected of it, the likeliest cause first.

Exit code 0: nothing was found; 9: there are problems.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			found, err := a.client().Problems(c.Context(), o.ID)
			if err != nil {
				return err
			}
			if err := a.printProblems(found); err != nil {
				return err
			}
			n := 0
			for _, p := range found.Problems {
				if p.Severity != string(diagnosis.Note) {
					n++
				}
			}
			if n == 0 {
				return nil
			}
			return exitWith(exitProblems, coded("LEAT3107", fmt.Sprintf("job %q has problems: %d were found", o.Name, n)))
		},
	}
}

// marks stand before a finding; colour alone would be lost in a pipe.
var marks = map[string]string{string(diagnosis.Error): "✕", string(diagnosis.Warning): "!", string(diagnosis.Note): "·"}

func (a *app) printProblems(found restapi.Problems) error {
	if a.output != "table" && a.output != "wide" {
		return a.print(found, func() table { return problemTable(found) })
	}
	for _, p := range found.Problems {
		fmt.Fprintf(a.out, "%s %s\n", marks[p.Severity], p.What)
		line(a.out, "where", p.Where)
		line(a.out, "why", p.Why)
		for _, f := range p.Fix {
			line(a.out, "fix", f)
		}
	}
	if len(found.Problems) == 0 {
		fmt.Fprintf(a.out, "✓ nothing holds it up, by %d rules\n", found.Rules)
	}
	return nil
}

// problemTable is for -o name: the rules that found something.
func problemTable(found restapi.Problems) table {
	t := table{header: []string{"RULE", "SEVERITY", "WHAT"}}
	for _, p := range found.Problems {
		t.rows = append(t.rows, []string{p.Rule, p.Severity, p.What})
		t.names = append(t.names, p.Rule)
	}
	return t
}

func line(w io.Writer, name, text string) {
	if text != "" {
		fmt.Fprintf(w, "  %s: %s\n", name, text)
	}
}
