package settings_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/config"
	"github.com/leatstream/leat/launch/settings"
)

var rewrite = flag.Bool("rewrite", false, "write the reference anew")

const page = "../../docs/operating/configuration.md"

// TestTheReferenceIsThatOfTheCode compares the page's tables with the structs.
func TestTheReferenceIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, cfg := range map[string]any{"jobmanager": &settings.JobManager{}, "taskmanager": &settings.TaskManager{}} {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			t.Fatalf("the page has no place for %s", name)
		}
		want := config.New(cfg).Reference()
		if got := text[i+len(begin) : j]; got != want && !*rewrite {
			t.Errorf("the table of %s differs: run go test ./launch/settings -rewrite", name)
		}
		text = text[:i+len(begin)] + want + text[j:]
	}
	if *rewrite {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func load(t *testing.T, cfg any, env map[string]string) error {
	t.Helper()
	return config.New(cfg).Load("", func(k string) (string, bool) { v, ok := env[k]; return v, ok })
}

func newJobManager() any  { return &settings.JobManager{} }
func newTaskManager() any { return &settings.TaskManager{} }

// TestOpenPortsWantConsent: no role listens where others reach it unasked.
func TestOpenPortsWantConsent(t *testing.T) {
	t.Parallel()
	jm := map[string]string{"LEAT_STORE_URI": "file:///tmp/x", "LEAT_HA_KIND": "memory", "LEAT_CONTROL_ADVERTISE": "h:1", "LEAT_REST_ADVERTISE": "http://h:1"}
	tm := map[string]string{"LEAT_STORE_URI": "file:///tmp/x", "LEAT_JOBMANAGERS": "h:1"}
	for _, test := range []struct {
		role        func() any
		base        map[string]string
		key, option string
	}{
		{newJobManager, jm, "LEAT_CONTROL_LISTEN", "control.listen"},
		{newJobManager, jm, "LEAT_REST_LISTEN", "rest.listen"},
		{newTaskManager, tm, "LEAT_METRICS_LISTEN", "metrics.listen"},
	} {
		for address, open := range map[string]bool{"0.0.0.0:1": true, ":1": true, "10.0.0.1:1": true, "[::]:1": true, "host:1": true, "127.0.0.1:1": false, "localhost:1": false, "[::1]:1": false} {
			env := map[string]string{test.key: address}
			for k, v := range test.base {
				env[k] = v
			}
			err := load(t, test.role(), env)
			if open != (err != nil && strings.Contains(err.Error(), test.option+": "+address) && strings.Contains(err.Error(), "set insecure to true")) {
				t.Errorf("%s=%s: %v", test.key, address, err)
			}
			env["LEAT_INSECURE"] = "true"
			if err := load(t, test.role(), env); err != nil {
				t.Errorf("%s=%s with consent: %v", test.key, address, err)
			}
		}
	}
	tm["LEAT_ADDRESS"] = "10.0.0.1"
	if err := load(t, &settings.TaskManager{}, tm); err == nil || !strings.Contains(err.Error(), "address: 10.0.0.1") {
		t.Errorf("workers listen for others unasked: %v", err)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role any
		env  map[string]string
		want []string
	}{
		{&settings.JobManager{}, nil, []string{"store.uri: it must be set", "ha.endpoints: it must name"}},
		{&settings.JobManager{}, map[string]string{"LEAT_STORE_URI": "ftp://x", "LEAT_HEARTBEAT_TIMEOUT": "600ms"}, []string{"store.uri: \"ftp\" is neither", "heartbeat.timeout: 600ms is less"}},
		{&settings.JobManager{}, map[string]string{"LEAT_STORE_URI": "file://relative", "LEAT_CONTROL_LISTEN": "6123"}, []string{"is not absolute", "control.listen: \"6123\" is not host:port"}},
		{&settings.JobManager{}, map[string]string{"LEAT_STORE_URI": "s3://k:hunter2@b/p"}, []string{"store.uri: it holds credentials"}},
		{&settings.JobManager{}, map[string]string{"LEAT_STORE_URI": "s3://b", "LEAT_STORE_ACCESS_KEY": "k"}, []string{"store.access-key: it and store.secret-key"}},
		{&settings.JobManager{}, map[string]string{"LEAT_STORE_URI": "s3:///p"}, []string{"names no bucket"}},
		{&settings.TaskManager{}, nil, []string{"jobmanagers: it must be set", "store.uri"}},
		{&settings.TaskManager{}, map[string]string{"LEAT_JOBMANAGERS": "h", "LEAT_MEMORY": "64MiB", "LEAT_SLOTS": "4"}, []string{"jobmanagers: \"h\" is not host:port", "leaves 16 MiB a slot"}},
		{&settings.TaskManager{}, map[string]string{"LEAT_ADDRESS": "0.0.0.0"}, []string{"names no address"}},
	} {
		err := load(t, test.role, test.env)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v: want %q, got:\n%v", test.env, want, err)
			}
		}
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := settings.Store{URI: "file://" + dir}.Open(clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.URI("a/b"); !strings.Contains(got, dir+"/a/b") {
		t.Errorf("URI %s", got)
	}
	s, err = settings.Store{URI: "s3://bucket/some/prefix", Endpoint: "http://127.0.0.1:1", AccessKey: "k", SecretKey: "s", PathStyle: true}.Open(clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.URI("a"); got != "s3://bucket/some/prefix/a" {
		t.Errorf("URI %s", got)
	}
}
