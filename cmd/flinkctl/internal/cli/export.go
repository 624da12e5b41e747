package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) savepointExport() *cobra.Command {
	var q savepoint.Query
	var format string
	c := &cobra.Command{
		Use: "export PATH", Short: "Print the keyed state of a savepoint or checkpoint, one JSON object a line", Args: cobra.ExactArgs(1),
		Example: "  flinkctl savepoint export URI --operator totals > totals.jsonl",
		RunE: func(c *cobra.Command, args []string) error {
			if format != "jsonl" {
				return usagef("--format %q is not jsonl, the only one", format)
			}
			out := bufio.NewWriterSize(a.out, 64<<10)
			r, err := a.export(c.Context(), args[0], q, out)
			// What came before an error is printed, too.
			if err := errors.Join(err, out.Flush()); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%d entries\n", r.Entries)
			if len(r.LeftOut) > 0 {
				fmt.Fprintf(a.err, "left out, as only the engine needs them: %s\n", strings.Join(r.LeftOut, ", "))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&q.Operator, "operator", "", "UID, name or id of one operator (default all)")
	f.StringVar(&q.State, "state", "", "one state (default all)")
	f.StringVar(&format, "format", "jsonl", "form of the output: jsonl")
	return c
}

// export reads a savepoint on this machine's disk by itself, and asks the
// jobmanager for one in the cluster's storage, which has the right to read it.
func (a *app) export(ctx context.Context, path string, q savepoint.Query, w io.Writer) (restapi.ExportResult, error) {
	s, err := onDisk(path)
	if err != nil {
		return restapi.ExportResult{}, err
	}
	if s == nil {
		r, err := a.patientClient().ExportSavepoint(ctx, url.Values{"path": {path}, "operator": {q.Operator}, "state": {q.State}}, w)
		return r, elsewhere(path, err)
	}
	sum, err := s.Export(ctx, q, savepoint.Lines(w))
	return restapi.ExportResult{Entries: sum.Entries, LeftOut: sum.LeftOut}, faultOf(err, path)
}
