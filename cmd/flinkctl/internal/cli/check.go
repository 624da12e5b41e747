package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

// startFlags are the options of a start that decide how a program is planned
// and what it may lose.
type startFlags struct {
	req                     restapi.RunRequest
	properties, environment []string
}

func (s *startFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.VarP(parallelismFlag{&s.req}, "parallelism", "p", "parallelism, or auto: as much as there are slots for; default: the program's")
	f.StringArrayVar(&s.req.DropState, "drop-state", nil, "UID of an operator whose state in the savepoint may be lost; may be repeated")
	f.BoolVar(&s.req.AllowDrained, "allow-drained", false, "start from a savepoint whose input was ended by --drain")
	f.StringArrayVarP(&s.properties, "define", "D", nil, "key=value, read by the job; may be repeated")
	f.StringArrayVar(&s.environment, "env", nil, "NAME or NAME=value: environment that the job sees; may be repeated")
}

// request is that of the flags, with the program's arguments.
func (s *startFlags) request(args []string) (r restapi.RunRequest, err error) {
	r = s.req
	r.ProgramArgsList = args
	if r.Configuration, err = pairs("-D", s.properties); err != nil {
		return r, err
	}
	r.Environment, err = environmentOf(s.environment)
	return r, err
}

// exactly wants n arguments before "--".
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if got := positional(c, args); got != n {
			return usagef("%s takes %s, then -- and the job's own arguments; it got %d", c.Name(), what, got)
		}
		return nil
	}
}

const checkLong = `Say what a start of BUNDLE from the savepoint would make of its state, before
anything is stopped. The bundle is planned as for a start, and its operators
are opened on the savepoint's tables without entries: what the start would
refuse is refused here, with the same code (exit code 9).`

func (a *app) savepointCheck() *cobra.Command {
	var flags startFlags
	c := &cobra.Command{
		Use: "check PATH BUNDLE [-- job args]", Short: "Say what a bundle would make of a savepoint, without a start", Long: checkLong,
		Example: "  flinkctl savepoint check URI orders-v2.bundle -- --brokers 127.0.0.1:9092",
		Args:    exactly(2, "a PATH and a BUNDLE"),
		RunE: func(c *cobra.Command, args []string) error {
			req, err := flags.request(args[2:])
			if err != nil {
				return err
			}
			req.SavepointPath = args[0]
			up, err := a.upload(c.Context(), args[1])
			if err != nil {
				return err
			}
			sc, err := a.client().CheckSavepoint(c.Context(), up.ID, req)
			if err != nil {
				return err
			}
			return a.printCheck(sc)
		},
	}
	flags.add(c)
	return c
}

// printCheck prints a check; it is an error when a start would be refused.
func (a *app) printCheck(sc restapi.SavepointCheck) error {
	if err := a.print(sc, func() table { return checkTable(sc) }); err != nil {
		return err
	}
	if sc.OK {
		fmt.Fprintln(a.err, "a start from it is not refused"+unsure(sc))
	}
	return checkError(sc)
}

// unsure says what a check does not know.
func unsure(sc restapi.SavepointCheck) string {
	var out []string
	for _, o := range sc.Operators {
		if o.Fate == "unknown" {
			out = append(out, o.UID)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; what the start makes of the state of " + strings.Join(out, ", ") + " is not known"
}

func checkError(sc restapi.SavepointCheck) error {
	if sc.OK {
		return nil
	}
	e := *sc.Errors[0]
	if more := len(sc.Errors) - 1; more > 0 {
		var others []string
		for _, o := range sc.Errors[1:] {
			others = append(others, o.Code+" at "+o.Where)
		}
		e.Why = strings.TrimPrefix(fmt.Sprintf("%s; and %s", e.Why, strings.Join(others, ", ")), "; ")
	}
	return exitWith(exitProblems, &e)
}

func checkTable(sc restapi.SavepointCheck) table {
	t := table{header: []string{"OPERATOR", "FATE", "STATE", "BYTES", "DETAILS"}, names: []string{}, empty: "Neither the savepoint nor the program has state."}
	for _, o := range sc.Operators {
		if o.Bytes == 0 && len(o.States) == 0 && (o.Fate == "restored" || o.Fate == "gone" || o.Fate == "new") {
			continue // it has no state
		}
		why := o.Why
		if o.Fate == "refused" && len(o.States) > 0 {
			why = "" // its state says it
		}
		if o.Was != "" {
			why = strings.TrimPrefix(why+"; its name was "+o.Was, "; ")
		}
		t.rows = append(t.rows, []string{o.UID, o.Fate, "", size(o.Bytes), dash(why)})
		t.names = append(t.names, o.UID)
		for _, s := range o.States {
			details := strings.Join(s.Changes, "; ")
			switch {
			case details != "":
			case s.Fate == "unused":
				details = "kept, but the operator does not open it: " + s.Was
			default:
				details = s.Now
			}
			t.rows = append(t.rows, []string{o.UID, s.Fate, s.Name, "", details})
		}
	}
	return t
}
