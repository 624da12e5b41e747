package rest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/rest"
	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// reader is a jobmanager with one savepoint.
type reader struct {
	jobview.Control
	snapshot *savepoint.Snapshot
	gate     chan struct{} // nil, or awaited before a savepoint is opened
}

func (r *reader) OpenSavepoint(_ context.Context, path string) (*savepoint.Snapshot, error) {
	if r.gate != nil {
		<-r.gate
	}
	if path != "s3://b/sp" {
		return nil, &jobview.Error{Code: "LEAT4208", Kind: jobview.KindNotFound, What: "no savepoint at " + path}
	}
	return r.snapshot, nil
}

// savepointOf is one with 5,000 values; damage changes its file.
func savepointOf(t *testing.T, damage func([]byte)) *savepoint.Snapshot {
	t.Helper()
	const op, groups = "0a", 16
	b := memstate.New(dataflow.KeyGroupsOf(0, groups, 1), groups)
	keyed := state.NewKeyed(b)
	var count state.Value[int64]
	if err := errors.Join(state.BindKey(b, "int64"), count.Open(keyed, "count")); err != nil {
		t.Fatal(err)
	}
	for n := range int64(5000) {
		keyed.SetKey(state.KeyOf([]byte{byte(n >> 8), byte(n), 0, 0, 0, 0, 0, 0}))
		count.Set(n)
	}
	sn, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Release()
	var file bytes.Buffer
	if _, err := sn.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	damage(file.Bytes())
	objects := memstore.New(clock.Real{})
	if err := objects.Put(t.Context(), "sp/w1", bytes.NewReader(file.Bytes()), int64(file.Len())); err != nil {
		t.Fatal(err)
	}
	return savepoint.New(&checkpointv1.Manifest{
		CheckpointId: 1, Kind: checkpointv1.Kind_KIND_SAVEPOINT, MaxParallelism: groups, JobName: "job",
		Operators: []*checkpointv1.Operator{{Id: op, Uid: "counts", Name: "count", Parallelism: 1}},
		Handles: []*controlv1.StateHandle{{
			OperatorId: op, Kind: controlv1.StateKind_STATE_KIND_KEYED, Object: "sp/w1", Length: int64(file.Len()), KeyGroupLast: groups - 1,
		}},
	}, objects)
}

func serve(t *testing.T, c jobview.Control) *restapi.Client {
	t.Helper()
	h := rest.NewHandler(rest.Config{Control: func() (jobview.Control, string) { return c, "" }, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return restapi.NewClient(server.URL, server.Client())
}

// The state of a savepoint comes as a stream, and its end says that it is all.
func TestExportOfSavepoint(t *testing.T) {
	t.Parallel()
	c := serve(t, &reader{snapshot: savepointOf(t, func([]byte) {})})
	var out bytes.Buffer
	r, err := c.ExportSavepoint(t.Context(), url.Values{"path": {"s3://b/sp"}, "operator": {"counts"}}, &out)
	if err != nil || r.Entries != 5000 || strings.Count(out.String(), "\n") != 5000 {
		t.Fatalf("%d entries in %d lines, %v", r.Entries, strings.Count(out.String(), "\n"), err)
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(first, `{"operator":"counts","state":"count","kind":"value","key":`) {
		t.Errorf("the first line is %s", first)
	}
	v, err := c.SavepointContents(t.Context(), "s3://b/sp")
	if err != nil || v.Kind != "savepoint" || len(v.Operators) != 1 || v.Operators[0].KeyedBytes == 0 {
		t.Errorf("contents are %+v, %v", v, err)
	}
}

// An export that cannot be whole never looks as if it were.
func TestExportThatFails(t *testing.T) {
	t.Parallel()
	c := serve(t, &reader{snapshot: savepointOf(t, func(b []byte) { b[len(b)*3/4] ^= 1 })})
	for code, query := range map[string]url.Values{
		"LEAT0400": {}, "LEAT4208": {"path": {"s3://b/other"}}, "LEAT4211": {"path": {"s3://b/sp"}}, "LEAT2007": {"path": {"s3://b/sp"}, "operator": {"nobody"}},
	} {
		_, err := c.ExportSavepoint(t.Context(), query, io.Discard)
		var e *restapi.Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%v: %v, want %s", query, err, code)
		}
	}
}

// More exports than there may be are refused, not queued.
func TestExportsAreFew(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	c := serve(t, &reader{snapshot: savepointOf(t, func([]byte) {}), gate: gate})
	results := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := c.ExportSavepoint(t.Context(), url.Values{"path": {"s3://b/sp"}}, io.Discard)
			results <- err
		}()
	}
	var e *restapi.Error
	if err := <-results; !errors.As(err, &e) || e.Code != "LEAT0501" {
		t.Errorf("the third export: %v", err)
	}
	close(gate)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
