package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/leatstream/leat/internal/config"
)

type options struct {
	ID      string        `config:"id" help:"name"`
	Slots   int           `config:"slots" default:"2" min:"1" help:"slots"`
	Memory  config.Size   `config:"memory" default:"1GiB" min:"64MiB" help:"memory"`
	Timeout time.Duration `config:"timeout" default:"10s" min:"1ms" help:"timeout"`
	Open    bool          `config:"open" help:"open"`
	Level   string        `config:"level" default:"info" enum:"debug,info" help:"level"`
	HA      group         `config:"ha"`
}

type group struct {
	Endpoints []string      `config:"endpoints" help:"endpoints"`
	Password  config.Secret `config:"password" help:"password"`
}

func (o *options) Validate() []error {
	if o.ID == "" {
		return []error{errors.New("id: it must be set")}
	}
	return nil
}

func (g *group) Validate() []error {
	if g.Password != "" && len(g.Endpoints) == 0 {
		return []error{errors.New("ha.endpoints: a password needs endpoints")}
	}
	return nil
}

func load(t *testing.T, file string, env map[string]string, flags ...string) (options, *config.Set, error) {
	t.Helper()
	var o options
	s := config.New(&o)
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.Flags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "leat.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Load(path, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	return o, s, err
}

func TestTheStrongerSourceWins(t *testing.T) {
	t.Parallel()
	file := "id: f\nslots: 3\nmemory: 2GB\ntimeout: 1m\nha:\n  endpoints: [a, b]\n"
	o, _, err := load(t, file, map[string]string{"LEAT_SLOTS": "4", "LEAT_MEMORY": "3GiB", "LEAT_HA_ENDPOINTS": "x, y,z"}, "--slots=5", "--open")
	if err != nil {
		t.Fatal(err)
	}
	if o.ID != "f" || o.Slots != 5 || o.Memory != 3<<30 || o.Timeout != time.Minute || !o.Open || o.Level != "info" {
		t.Errorf("got %+v", o)
	}
	if got := strings.Join(o.HA.Endpoints, "|"); got != "x|y|z" {
		t.Errorf("endpoints %q", got)
	}
}

func TestAllFaultsComeAtOnce(t *testing.T) {
	t.Parallel()
	file := "slotz: 3\nmemory: lots\nha:\n  pasword: hunter2\n  endpoints:\n    a: 1\nlevel: loud\n"
	_, _, err := load(t, file, map[string]string{"LEAT_TIMEOUT": "soon"}, "--slots=0")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"leat.yaml:1: slotz: no such option: did you mean slots?",
		`leat.yaml:2: memory: "lots" is not a size`,
		"leat.yaml:4: ha.pasword: no such option: did you mean ha.password?",
		"leat.yaml:5: ha.endpoints: a value was expected",
		`leat.yaml:7: level: "loud" is none of debug, info`,
		`LEAT_TIMEOUT (timeout): "soon" is not a duration`,
		"--slots: 0 is less than 1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a misspelt option's value is shown:\n%v", err)
	}
}

func TestRulesOverSeveralOptions(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "ha:\n  password: x\n", nil)
	if err == nil || !strings.Contains(err.Error(), "id: it must be set") || !strings.Contains(err.Error(), "ha.endpoints: a password needs endpoints") {
		t.Errorf("got %v", err)
	}
}

func TestPrintedConfigurationLoadsAgainAndHidesSecrets(t *testing.T) {
	t.Parallel()
	_, s, err := load(t, "id: \"s3://key:hunter2@host/x\"\nha:\n  password: hunter2\n  endpoints: [a, 'b: c']\n", nil, "--timeout=90m", "--memory=1536MiB")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := s.Print(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("the secret is shown:\n%s", b.String())
	}
	for _, want := range []string{"timeout: 1h30m # flag", "slots: 2 # default", "password: (hidden) # file", "id: s3://(hidden)@host/x # file"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("missing %q in:\n%s", want, b.String())
		}
	}
	o, _, err := load(t, b.String(), nil)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	if o.Memory != 1536<<20 || o.Timeout != 90*time.Minute || len(o.HA.Endpoints) != 2 || o.HA.Endpoints[1] != "b: c" {
		t.Errorf("got %+v", o)
	}
}

func TestABrokenFileShowsNoContent(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, "ha:\n  password: hunter2\n bad: [hunter2\n", nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{"0": 0, "12": 12, "12B": 12, "1kB": 1000, "1KiB": 1024, "1.5GiB": 3 << 29, " 2 MB ": 2e6} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
		if again, err := config.ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q and read as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1QB", "9e30", "NaN"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestReferenceNamesEachOption(t *testing.T) {
	t.Parallel()
	var o options
	ref := config.New(&o).Reference()
	for _, want := range []string{"| `ha.password` | secret | – |", "| `memory` | size | `1GiB` |", "(debug, info)"} {
		if !strings.Contains(ref, want) {
			t.Errorf("missing %q in:\n%s", want, ref)
		}
	}
}
