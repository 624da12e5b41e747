package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/runtime/savepointview"
)

func (a *app) savepointInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect PATH", Short: "Show what a savepoint or checkpoint holds, by operator", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := a.contentsOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(v, func() table { return savepointTable(v) })
		},
	}
}

// contentsOf describes a savepoint on this machine's disk, or else one in the
// cluster's storage.
func (a *app) contentsOf(ctx context.Context, path string) (restapi.SavepointContents, error) {
	s, err := onDisk(path)
	if err != nil {
		return restapi.SavepointContents{}, err
	}
	if s != nil {
		return savepointview.Of(path, s.Manifest()), nil
	}
	v, err := a.client().SavepointContents(ctx, path)
	return v, elsewhere(path, err)
}

// onDisk opens a savepoint on this machine's disk; nil when it is not there.
func onDisk(path string) (*savepoint.Snapshot, error) {
	file := strings.TrimPrefix(path, "file://")
	if strings.Contains(file, "://") {
		return nil, nil
	}
	s, err := savepoint.OpenLocal(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, faultOf(err, path)
}

// faultOf gives an error about a savepoint its code.
func faultOf(err error, path string) error {
	fault := savepointview.Fault(err, path)
	switch {
	case fault == nil:
		return err
	case errors.Is(err, savepoint.ErrNoSuch):
		return exitWith(exitNotFound, own(fault))
	}
	return exitWith(exitProblems, own(fault))
}

// elsewhere is the error of a savepoint that is not on this machine's disk: of
// one that may be nothing but a path here, that is said rather than that no
// jobmanager could be asked.
func elsewhere(path string, err error) error {
	if errors.Is(err, restapi.ErrUnreachable) && !strings.Contains(strings.TrimPrefix(path, "file://"), "://") {
		return exitWith(exitNotFound, coded("LEAT4208", "there is no savepoint at "+path+" on this machine, and no jobmanager could be asked for it", "flinkctl savepoint list JOB"))
	}
	return err
}

func savepointTable(v restapi.SavepointContents) table {
	kind := v.Kind
	if v.Drained {
		kind += ", drained"
	}
	t := table{header: []string{"UID", "PAR", "KEYED", "OTHER", "NAME"}, names: []string{v.Path}}
	t.rows = append(t.rows, []string{fmt.Sprintf("%s %d of %s", kind, v.Checkpoint, v.Job), fmt.Sprintf("≤%d", v.MaxParallelism), size(v.Bytes), "", time.UnixMilli(v.Created).UTC().Format(time.RFC3339)})
	for _, o := range v.Operators {
		t.rows = append(t.rows, []string{o.UID, fmt.Sprint(o.Parallelism), size(o.KeyedBytes), size(o.OtherBytes), o.Name})
	}
	return t
}
