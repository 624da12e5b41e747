package cli

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/restapi"
)

const stateLong = `Read the keyed state of a running job.

What is shown is live: the state of the running attempt at the moment each
subtask was asked, with the effects of records that no checkpoint holds yet.
After a failure the job goes on from its last checkpoint, and so does its
state. While the job restarts there is no answer (exit code 5; try again).`

func (a *app) stateCommands() *cobra.Command {
	c := &cobra.Command{Use: "state", Short: "Look at the keyed state of a running job", Long: stateLong}
	c.AddCommand(a.stateList(), a.stateGet(), a.stateScan())
	return c
}

func (a *app) stateList() *cobra.Command {
	return &cobra.Command{
		Use: "list JOB [OPERATOR]", Aliases: []string{"ls"}, Short: "List the states of a job's operators", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.lookAtJob(c.Context(), args[0])
			if err != nil {
				return err
			}
			operator := ""
			if len(args) == 2 {
				operator = args[1]
			}
			s, err := a.client().State(c.Context(), o.ID, operator, nil)
			if err != nil {
				return err
			}
			return a.print(s.Operators, func() table {
				t := table{header: []string{"OPERATOR", "STATE", "KIND", "ENTRIES", "KEY", "TYPE"}, empty: "No operator has keyed state."}
				for _, op := range s.Operators {
					for _, st := range op.States {
						t.rows = append(t.rows, []string{op.UID, st.Name, st.Kind, strconv.FormatInt(st.Entries, 10), op.Key, strings.TrimPrefix(st.Schema, st.Kind+" ")})
						t.names = append(t.names, st.Name)
					}
				}
				return t
			})
		},
	}
}

// stateFlags are the options of get and scan.
type stateFlags struct {
	state, from, to, keyFrom, keyTo string
	limit                           int
}

func (f *stateFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.state, "state", "", "one state of the operator (default all)")
	c.Flags().StringVar(&f.from, "from", "", "windows that start at this time or later: 2026-01-31T12:00:00Z, or milliseconds since 1970")
	c.Flags().StringVar(&f.to, "to", "", "windows that start at this time or earlier")
	c.Flags().IntVar(&f.limit, "limit", 100, "entries shown, at most 10000")
}

func (f *stateFlags) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(f.limit)}}
	for name, s := range map[string]string{"state": f.state, "from": f.from, "to": f.to, "from-key": f.keyFrom, "to-key": f.keyTo} {
		if s != "" {
			v.Set(name, s)
		}
	}
	return v
}

func (a *app) stateGet() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "get JOB OPERATOR KEY", Short: "Show the state of one key", Args: cobra.ExactArgs(3),
		Long: stateLong + `

KEY is JSON of the type that "flinkctl state list" names; texts may come
without quotes: flinkctl state get orders revenue EU-WEST`,
		RunE: func(c *cobra.Command, args []string) error {
			v := f.values()
			v.Set("key", args[2])
			return a.readState(c, args, v, fmt.Sprintf("No state for key %s.", args[2]))
		},
	}
	f.add(c)
	return c
}

func (a *app) stateScan() *cobra.Command {
	var f stateFlags
	c := &cobra.Command{
		Use: "scan JOB OPERATOR", Short: "Show the state of a range of keys", Args: cobra.ExactArgs(2),
		Long: stateLong + `

All state of the operator is read for it, beside the running tasks.`,
		RunE: func(c *cobra.Command, args []string) error {
			v := f.values()
			v.Set("scan", "true")
			return a.readState(c, args, v, "No state in that range.")
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.keyFrom, "from-key", "", "first key, as JSON")
	c.Flags().StringVar(&f.keyTo, "to-key", "", "last key, as JSON")
	return c
}

func (a *app) readState(c *cobra.Command, args []string, v url.Values, empty string) error {
	o, err := a.lookAtJob(c.Context(), args[0])
	if err != nil {
		return err
	}
	s, err := a.client().State(c.Context(), o.ID, args[1], v)
	if err != nil {
		return err
	}
	if s.More {
		fmt.Fprintf(c.ErrOrStderr(), "there is more: %d entries are shown; raise --limit, or ask for less\n", len(s.Entries))
	}
	return a.print(s.Entries, func() table { return stateTable(s.Entries, empty) })
}

func stateTable(entries []restapi.StateEntry, empty string) table {
	t := table{header: []string{"STATE", "KEY", "WINDOW", "MAP KEY", "VALUE"}, empty: empty}
	for _, e := range entries {
		window := dash("")
		if e.Window != nil {
			window = windowTime(*e.Window)
		}
		if e.WindowEnd != nil {
			window += " to " + windowTime(*e.WindowEnd)
		}
		t.rows = append(t.rows, []string{e.State, string(e.Key), window, dash(string(e.MapKey)), string(e.Value)})
		t.names = append(t.names, string(e.Value))
	}
	return t
}

func windowTime(millis int64) string {
	return time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05.999Z")
}
