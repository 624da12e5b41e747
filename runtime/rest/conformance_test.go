package rest_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/runtime/rest"
	"github.com/leatstream/leat/stream"
)

// capturesEnv names a folder with bodies that Flink answered, and index.tsv:
// method, path, request body, status, content type, file.
const capturesEnv = "LEAT_FLINK_REST"

// notOffered are paths of Flink without a counterpart here, with the reason.
var notOffered = map[string]string{
	"/jobmanager/environment":                               "of the JVM",
	"/jobmanager/thread-dump":                               "of the JVM",
	"/taskmanagers/:taskmanagerid/thread-dump":              "of the JVM",
	"/jobs/:jobid/jobmanager/environment":                   "of the JVM",
	"/jobs/:jobid/vertices/:vertexid/flamegraph":            "of the JVM",
	"/jobs/:jobid/jobmanager/log-url":                       "of a cluster for each job",
	"/jobs/:jobid/jobmanager/config":                        "of a cluster for each job",
	"/jobs/:jobid/taskmanagers/:taskmanagerid/log-url":      "of a cluster for each job",
	"/jobs/:jobid/vertices/:vertexid/jm-operator-metrics":   "coordinators run in workers",
	"/jobs/:jobid/checkpoints/details/5/subtasks/:vertexid": "checkpoints keep no figures of subtasks",
	"/jobmanager/logs":                                      "a jobmanager logs to standard error",
	"/jobmanager/config":                                    "--print-config; it may hold secrets",
}

// lacking are keys of Flink without a counterpart here, with the reason.
var lacking = map[string]string{
	"application-id":       "a job is its own application",
	"serialized-throwable": "of the JVM",
	"jmxPort":              "of the JVM",
	"totalResource":        "of Flink's memory model",
	"freeResource":         "of Flink's memory model",
	"memoryConfiguration":  "of Flink's memory model",
	"allocatedSlots":       "slots have no resources of their own",
	"changelog_periodic_materialization_interval": "there is no changelog backend",
	"mtime":                   "logs are known by name and size",
	"garbageCollectors":       "of the JVM",
	"externalization":         "retained checkpoints are the job's own setting",
	"state_changelog_enabled": "there is no changelog backend",
	"changelog_storage":       "there is no changelog backend",
}

type capture struct{ method, path, body, status, file string }

func captures(t *testing.T) (string, []capture) {
	t.Helper()
	dir := os.Getenv(capturesEnv)
	if dir == "" {
		t.Skipf("NOT TESTED: %s names no folder with bodies of Flink", capturesEnv)
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var out []capture
	for _, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		f := strings.Split(line, "\t")
		out = append(out, capture{f[0], strings.TrimPrefix(f[1], "/v1"), f[2], f[3], f[5]})
	}
	return dir, out
}

// TestShapeOfAnswers asks a running job for everything that Flink was asked
// for, and wants each key of Flink's answer, with a value of the same kind.
func TestShapeOfAnswers(t *testing.T) {
	t.Parallel()
	dir, all := captures(t)
	f := newFixture(t)
	done := map[string]bool{}
	for _, c := range all {
		path, _, _ := strings.Cut(c.path, "?")
		path = strings.ReplaceAll(path, ":vertexid2", ":vertexid")
		if c.method != http.MethodGet || c.status != "200" || done[c.file] || strings.Contains(path, "/jars/") || strings.Contains(path, "rescales") {
			continue
		}
		done[c.file] = true
		if _, no := notOffered[path]; no || strings.Contains(path, "/:triggerid") || strings.HasSuffix(c.file, "execution-result_finished.json") {
			continue
		}
		want := decode(t, read(t, filepath.Join(dir, c.file)))
		path = c.path
		if strings.HasSuffix(c.file, "_failed.json") {
			path = strings.ReplaceAll(path, ":jobid", ":failedid")
		}
		status, body := f.get(t, path)
		if status != http.StatusOK {
			t.Errorf("GET %s (%s): %d %s", c.path, c.file, status, body)
			continue
		}
		for _, fault := range lacks(want, decode(t, body), "") {
			t.Errorf("GET %s (%s): %s", c.path, c.file, fault)
		}
	}
	if len(done) < 40 {
		t.Fatalf("only %d bodies were compared", len(done))
	}
}

// TestStatusOfErrors wants Flink's status, and its key, for what is not there.
func TestStatusOfErrors(t *testing.T) {
	t.Parallel()
	_, all := captures(t)
	f := newFixture(t)
	tested := 0
	for _, c := range all {
		if c.method != http.MethodGet || c.status != "404" && c.status != "400" || strings.Contains(c.path, "rescales") || strings.Contains(c.path, "clientHeartbeat") {
			continue
		}
		tested++
		status, body := f.get(t, c.path)
		if strconv.Itoa(status) != c.status {
			t.Errorf("GET %s: %d, Flink says %s: %s", c.path, status, c.status, body)
		}
		var e struct{ Errors []string }
		if err := json.Unmarshal(body, &e); err != nil || len(e.Errors) == 0 {
			t.Errorf("GET %s: no errors in %s", c.path, body)
		}
	}
	if tested < 8 {
		t.Fatalf("only %d errors were compared", tested)
	}
}

// lacks lists what want has and got has not.
func lacks(want, got any, at string) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			if got == nil {
				return nil // Flink's own null: nothing there yet
			}
			return []string{at + ": want an object, got " + kind(got)}
		}
		return lacksKeys(w, g, at)
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{at + ": want a list, got " + kind(got)}
		}
		if len(w) > 0 && len(g) > 0 && !hasMetrics(w) {
			return lacks(w[0], g[0], at+"[]")
		}
		return nil
	case nil:
		return nil
	}
	if got != nil && kind(want) != kind(got) {
		return []string{at + ": want " + kind(want) + ", got " + kind(got)}
	}
	return nil
}

func lacksKeys(w, g map[string]any, at string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(w)) {
		if _, no := lacking[k]; no || at == "" && k == "metrics" && w["memoryConfiguration"] != nil { // of the JVM
			continue
		}
		if len(k) == 32 && strings.Trim(k, "0123456789abcdef") == "" { // a map by vertex id
			for _, x := range g {
				return append(out, lacks(w[k], x, at+".<id>")...)
			}
			continue
		}
		x, ok := g[k]
		if !ok {
			out = append(out, at+"."+k+" is missing")
			continue
		}
		out = append(out, lacks(w[k], x, at+"."+k)...)
	}
	return out
}

// hasMetrics reports whether a list names metrics: names differ.
func hasMetrics(w []any) bool {
	m, ok := w[0].(map[string]any)
	return ok && len(m) == 1 && m["id"] != nil
}

func kind(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a string"
	case float64:
		return "a number"
	case bool:
		return "a boolean"
	}
	return "null"
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// fixture is the API of a cluster with one running job.
type fixture struct {
	server *httptest.Server
	names  *strings.Replacer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	mini, err := minicluster.Start(minicluster.Config{Slots: 4, NewBackend: bundled.NewBackend, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mini.Close(); err != nil {
			t.Error(err)
		}
	})
	control, err := mini.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sha := mini.AddProgram("sums", program)
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: sha, Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	var j jobview.Job
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for j.Checkpoints.Completed < 6 {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the job has no checkpoints")
		}
		if j, err = control.Job(id); err != nil || j.State.Terminal() {
			t.Fatalf("%v: %s %s %+v", err, j.State, j.StateReason, j.Exceptions)
		}
	}
	bad := mini.AddProgram("fails", failing)
	failed, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: bad, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	for b := (jobview.Job{}); b.State != jobview.JobFailed; {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the job does not fail")
		}
		if b, err = control.Job(failed); err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{names: strings.NewReplacer(":failedid", string(failed), ":jobid", string(id), ":vertexid2", string(j.Vertices[len(j.Vertices)-1].ID), ":vertexid", string(j.Vertices[0].ID),
		":taskmanagerid", control.TaskManagers()[0].ID)}
	f.server = httptest.NewServer(rest.NewHandler(rest.Config{
		Control: func() (jobview.Control, string) { return control, "" }, TempDir: t.TempDir(), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(f.server.Close)
	return f
}

type tick struct{ N, Key int64 }

func program([]string, map[string]string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.JobName("sums"), stream.CheckpointInterval(50*time.Millisecond))
	ticks := stream.From(env, datagen.New(datagen.Config{PerSecond: 1000, Splits: 2}, func(i int64, _ *rand.Rand) tick { return tick{i, i % 3} }),
		stream.UID("ticks"), stream.TimestampMillis(func(t tick) int64 { return t.N }), stream.Watermarks(stream.Monotonous()))
	stream.Reduce(stream.KeyBy(ticks, func(t tick) int64 { return t.Key }), func(a, b tick) tick { return tick{a.N + b.N, a.Key} }, stream.UID("sums")).
		Filter(func(t tick) bool { return false }, stream.UID("none")).To(collection.NewCollector(tick{}), stream.UID("out"))
	return env.Graph()
}

func failing([]string, map[string]string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.JobName("fails"), stream.RestartNever())
	stream.From(env, datagen.New(datagen.Config{Count: 10}, func(i int64, _ *rand.Rand) tick { return tick{i, 0} }), stream.UID("ticks")).
		Rebalance().Filter(func(tick) bool { panic("on purpose") }, stream.UID("panics")).To(collection.NewCollector(tick{}), stream.UID("out"))
	return env.Graph()
}

func (f *fixture) get(t *testing.T, path string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/v1"+f.names.Replace(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}
