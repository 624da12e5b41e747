package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leatstream/leat/runtime/restapi"
)

// TestJobsOfOneName: every verb that takes a job takes the one that runs, and
// of several that have ended none, but says which there are.
func TestJobsOfOneName(t *testing.T) {
	t.Parallel()
	const older, newer, running = "aaaa0000000000000000000000000000", "bbbb0000000000000000000000000000", "cccc0000000000000000000000000000"
	ended := []restapi.JobOverview{
		{ID: older, Name: "orders", State: "FINISHED", StartTime: 1_767_225_600_000},
		{ID: newer, Name: "orders", State: "CANCELED", StartTime: 1_767_312_000_000},
		{ID: "dddd0000000000000000000000000000", Name: "other", State: "RUNNING", StartTime: 1},
	}
	for _, verb := range []string{"job get", "job exceptions", "checkpoint list", "savepoint list", "checkpoint get"} {
		args := append(strings.Fields(verb), "orders")
		if verb == "checkpoint get" {
			args = append(args, "1")
		}
		code, asked, said := runOn(t, ended, args)
		first, second := strings.Index(said, newer), strings.Index(said, older)
		if code != exitConflict || len(asked) > 0 || first < 0 || second < first || !strings.Contains(said, "2026-01-02") || strings.Contains(said, "dddd") {
			t.Errorf("%s, two have ended: exit code %d, asked about %v, said\n%s", verb, code, asked, said)
		}
		_, asked, said = runOn(t, append(ended, restapi.JobOverview{ID: running, Name: "orders", State: "RUNNING"}), args)
		if len(asked) == 0 || asked[0] != running {
			t.Errorf("%s, one runs: asked about %v, said\n%s", verb, asked, said)
		}
	}
}

// runOn runs flinkctl on a jobmanager that has the jobs; asked are those that
// it was asked about.
func runOn(t *testing.T, jobs []restapi.JobOverview, args []string) (code int, asked []string, said string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1")
		if path == "/jobs/overview" {
			if err := json.NewEncoder(w).Encode(restapi.JobsOverview{Jobs: jobs}); err != nil {
				t.Error(err)
			}
			return
		}
		if id, ok := strings.CutPrefix(path, "/jobs/"); ok {
			id, _, _ = strings.Cut(id, "/")
			asked = append(asked, id)
		}
		_, _ = fmt.Fprint(w, "{}")
	}))
	defer s.Close()
	var out bytes.Buffer
	code = Main(append(args, "--jobmanager", s.URL), strings.NewReader(""), &out, &out)
	return code, asked, out.String()
}
