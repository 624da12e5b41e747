package rest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
)

// send makes a request with a body; names in the path are filled in.
func (f *fixture) send(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+"/v1"+f.names.Replace(path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }() // it was read
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

// awaitRescale polls the change that a request has begun.
func (f *fixture) awaitRescale(t *testing.T, answer []byte) *restapi.Operation {
	t.Helper()
	var asked restapi.TriggerResponse
	if err := json.Unmarshal(answer, &asked); err != nil || asked.RequestID == "" {
		t.Fatalf("no request id in %s (%v)", answer, err)
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, body := f.get(t, "/jobs/:jobid/rescaling/"+asked.RequestID)
		var op restapi.OperationStatus
		if err := json.Unmarshal(body, &op); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s (%v)", status, body, err)
		}
		if op.Status.ID == "COMPLETED" {
			return op.Operation
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the job is not rescaled")
		}
	}
}

func (f *fixture) bounds(t *testing.T) restapi.ResourceRequirements {
	t.Helper()
	_, body := f.get(t, "/jobs/:jobid/resource-requirements")
	var out restapi.ResourceRequirements
	if err := json.Unmarshal(body, &out); err != nil || len(out) < 2 {
		t.Fatalf("%s (%v)", body, err)
	}
	return out
}

// TestRescaleByREST: by Flink's old path, and by its resource requirements,
// which give a vertex as much as there are slots for.
func TestRescaleByREST(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	status, body := f.send(t, http.MethodPatch, "/jobs/:jobid/rescaling?parallelism=3", "")
	if op := f.awaitRescale(t, body); status != http.StatusAccepted || op.Error != nil {
		t.Fatalf("%d %s: %+v", status, body, op)
	}
	before := f.bounds(t)
	for id, v := range before {
		if v.Parallelism.UpperBound != 3 {
			t.Errorf("vertex %s has parallelism %d, want 3", id, v.Parallelism.UpperBound)
		}
	}
	for id := range before {
		body := `{"` + id + `": {"parallelism": {"lowerBound": 1, "upperBound": 9}}}`
		status, answer := f.send(t, http.MethodPut, "/jobs/:jobid/resource-requirements", body)
		if op := f.awaitRescale(t, answer); status != http.StatusOK || op.Error != nil {
			t.Fatalf("%d %s: %+v", status, answer, op)
		}
		if got := f.bounds(t)[id].Parallelism.UpperBound; got != 4 {
			t.Errorf("vertex %s, 1 to 9 on 4 slots: %d", id, got)
		}
		break
	}
}

func TestRescaleByRESTIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPatch, "/jobs/:jobid/rescaling", "", http.StatusBadRequest},
		{http.MethodPatch, "/jobs/:jobid/rescaling?parallelism=many", "", http.StatusBadRequest},
		{http.MethodPatch, "/jobs/:jobid/rescaling?parallelism=-1", "", http.StatusBadRequest},
		{http.MethodPatch, "/jobs/:jobid/rescaling", `{"vertices": {"nowhere": 2}}`, http.StatusNotFound},
		{http.MethodPut, "/jobs/:jobid/resource-requirements", "", http.StatusBadRequest},
		{http.MethodPut, "/jobs/:jobid/resource-requirements", `{"nowhere": {"parallelism": {"lowerBound": 1, "upperBound": 2}}}`, http.StatusNotFound},
		{http.MethodPut, "/jobs/:jobid/resource-requirements", `{"nowhere": {"parallelism": {"lowerBound": 3, "upperBound": 2}}}`, http.StatusBadRequest},
		{http.MethodPatch, "/jobs/00000000000000000000000000000000/rescaling?parallelism=2", "", http.StatusNotFound},
		{http.MethodPatch, "/jobs/:failedid/rescaling?parallelism=2", "", http.StatusConflict},
	} {
		if status, body := f.send(t, c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s %s: %d, want %d: %s", c.method, c.path, c.body, status, c.status, body)
		}
	}
}
