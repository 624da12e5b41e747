package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/runtime/restapi"
)

// TestJobsOfOneName: every verb that takes a job takes the one that lives. Of
// several that have ended those that only look take the newest and say so;
// those that change something take none, but say which there are.
func TestJobsOfOneName(t *testing.T) {
	t.Parallel()
	const older, newer, running = "aaaa0000000000000000000000000000", "bbbb0000000000000000000000000000", "cccc0000000000000000000000000000"
	ended := []restapi.JobOverview{
		{ID: older, Name: "orders", State: "FINISHED", StartTime: 1_767_225_600_000},
		{ID: newer, Name: "orders", State: "CANCELED", StartTime: 1_767_312_000_000},
		{ID: "dddd0000000000000000000000000000", Name: "other", State: "RUNNING", StartTime: 1},
	}
	one := append(slices.Clone(ended), restapi.JobOverview{ID: running, Name: "orders", State: "RUNNING"})
	two := append(slices.Clone(one), restapi.JobOverview{ID: "eeee0000000000000000000000000000", Name: "orders", State: "RESTARTING"})
	refused := func(verb string, jobs []restapi.JobOverview, first, second string) {
		code, asked, said := runOn(t, jobs, strings.Fields(verb))
		at, then := strings.Index(said, first), strings.Index(said, second)
		if code != exitConflict || len(asked) > 0 || at < 0 || then < at || strings.Contains(said, "dddd") {
			t.Errorf("%s of %d jobs: exit code %d, asked about %v, said\n%s", verb, len(jobs), code, asked, said)
		}
	}
	for verb, changes := range map[string]bool{
		"job get orders": false, "job graph orders": false, "job exceptions orders": false, "job wait orders --timeout 200ms": false,
		"logs orders": false, "checkpoint list orders": false, "checkpoint get orders 1": false, "savepoint list orders": false,
		"state list orders": false, "state get orders sums 3": false, "state scan orders sums": false,
		"job stop orders": true, "job cancel orders": true, "job rescale orders 3": true, "checkpoint trigger orders": true, "savepoint create orders": true,
	} {
		args := strings.Fields(verb)
		if changes {
			refused(verb, ended, newer, older)
		} else {
			_, asked, said := runOn(t, ended, args)
			if verb != "logs orders" && (len(asked) == 0 || asked[0] != newer) ||
				!strings.Contains(said, "2 jobs named \"orders\" have ended and none lives") || !strings.Contains(said, newer+"  (orders, CANCELED, started 2026-01-02 ") {
				t.Errorf("%s, two have ended: asked about %v, said\n%s", verb, asked, said)
			}
			refused(verb, two, running, "eeee")
			if _, asked, said = runOn(t, one, args); verb != "logs orders" && (len(asked) == 0 || asked[0] != running) || strings.Contains(said, "none lives") {
				t.Errorf("%s, one lives: asked about %v, said\n%s", verb, asked, said)
			}
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
