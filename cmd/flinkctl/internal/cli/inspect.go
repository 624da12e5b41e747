package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/checkpoint/manifest"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// savepointView is what inspect shows of a manifest.
type savepointView struct {
	Path           string         `json:"path"`
	Job            string         `json:"job"`
	JobID          string         `json:"jobId"`
	Checkpoint     int64          `json:"checkpoint"`
	Kind           string         `json:"kind"`
	Drained        bool           `json:"drained"`
	Created        int64          `json:"created"`
	MaxParallelism int32          `json:"maxParallelism"`
	Engine         string         `json:"engine"`
	Bytes          int64          `json:"bytes"`
	Operators      []operatorView `json:"operators"`
}

type operatorView struct {
	UID         string `json:"uid"`
	Name        string `json:"name"`
	ID          string `json:"id"`
	Parallelism int32  `json:"parallelism"`
	KeyedBytes  int64  `json:"keyedBytes"`
	OtherBytes  int64  `json:"otherBytes"`
}

func (a *app) savepointInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect PATH", Short: "Show what a savepoint or checkpoint on this machine's disk holds, by operator", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := inspect(args[0])
			if err != nil {
				return err
			}
			return a.print(v, func() table { return savepointTable(v) })
		},
	}
}

func inspect(path string) (savepointView, error) {
	file := strings.TrimPrefix(path, "file://")
	if strings.Contains(file, "://") {
		return savepointView{}, usagef("%s: inspect reads files; copy the folder here, or look at flinkctl savepoint list JOB", path)
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		found, _ := filepath.Glob(filepath.Join(file, "*manifest*")) // the pattern is well-formed
		if len(found) != 1 {
			return savepointView{}, exitWith(exitNotFound, coded("LEAT4208", fmt.Sprintf("%s holds %d manifests, not one", file, len(found))))
		}
		file = found[0]
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return savepointView{}, exitWith(exitNotFound, coded("LEAT4208", "there is no savepoint at "+file, "flinkctl savepoint list JOB"))
	}
	if err != nil {
		return savepointView{}, err
	}
	m, err := manifest.Decode(filepath.Base(file), data)
	if err != nil {
		return savepointView{}, exitWith(exitProblems, coded("LEAT4205", fmt.Sprintf("%s cannot be read: %v", file, err), "use another savepoint or checkpoint of the job"))
	}
	return viewOf(path, m), nil
}

func viewOf(path string, m *checkpointv1.Manifest) savepointView {
	v := savepointView{
		Path: path, Job: m.JobName, JobID: m.JobId, Checkpoint: m.CheckpointId, Kind: "checkpoint", Drained: m.Drained,
		Created: m.CreatedMillis, MaxParallelism: m.MaxParallelism, Engine: m.EngineVersion,
	}
	if m.Kind == checkpointv1.Kind_KIND_SAVEPOINT {
		v.Kind = "savepoint"
	}
	at := make(map[string]int)
	for _, o := range m.Operators {
		at[o.Id] = len(v.Operators)
		v.Operators = append(v.Operators, operatorView{UID: o.Uid, Name: o.Name, ID: o.Id, Parallelism: o.Parallelism})
	}
	for _, h := range m.Handles {
		n := h.Length
		if n == 0 {
			n = int64(len(h.Inline))
		}
		v.Bytes += n
		if i, ok := at[h.OperatorId]; !ok {
			continue
		} else if h.Kind == controlv1.StateKind_STATE_KIND_KEYED {
			v.Operators[i].KeyedBytes += n
		} else {
			v.Operators[i].OtherBytes += n
		}
	}
	return v
}

func savepointTable(v savepointView) table {
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
