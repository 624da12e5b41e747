package command_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/config"
	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/launch/command"
)

type options struct {
	Name   string        `config:"name" help:"name"`
	Slots  int           `config:"slots" default:"1" min:"1" help:"slots"`
	Secret config.Secret `config:"secret" help:"secret"`
}

func (o *options) Validate() []error {
	if o.Name == "" {
		return []error{errors.New("name: it must be set")}
	}
	return nil
}

func execute(t *testing.T, run error, env map[string]string, args ...string) (code int, ran *options, stdout, stderr string) {
	t.Helper()
	cfg := &options{}
	var out, errs strings.Builder
	code = command.Execute(t.Context(), command.Program{
		Name: "thing", Short: "run a thing", Settings: cfg,
		Run: func(context.Context, io.Writer) error { ran = cfg; return run },
	}, args, &out, &errs, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	return code, ran, out.String(), errs.String()
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "thing.yaml")
	if err := os.WriteFile(file, []byte("name: filed\nslots: 2\nsecret: hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, ran, _, _ := execute(t, nil, map[string]string{"LEAT_CONFIG": file, "LEAT_SLOTS": "3"}); code != 0 || ran == nil || ran.Name != "filed" || ran.Slots != 3 || ran.Secret != "hunter2" {
		t.Errorf("code %d, ran with %+v", code, ran)
	}
	if code, _, _, stderr := execute(t, errors.New("no room"), nil, "--name=x"); code != 1 || stderr != "error: no room\n" {
		t.Errorf("a program that fails: code %d, %q", code, stderr)
	}
	code, ran, _, stderr := execute(t, nil, nil, "--slots=0", "--config", file+"x")
	if code != 2 || ran != nil || !strings.Contains(stderr, "LEAT0101") || !strings.Contains(stderr, "  --slots: 0 is less than 1\n") || !strings.Contains(stderr, "no such file") {
		t.Errorf("faults: code %d, %s", code, stderr)
	}
	if code, ran, _, stderr := execute(t, nil, nil, "--nmae=x"); code != 2 || ran != nil || !strings.Contains(stderr, "unknown flag: --nmae") {
		t.Errorf("unknown flag: code %d, %s", code, stderr)
	}
	code, ran, stdout, _ := execute(t, nil, nil, "--config", file, "--print-config")
	if code != 0 || ran != nil || !strings.Contains(stdout, "slots: 2 # file") || strings.Contains(stdout, "hunter2") {
		t.Errorf("--print-config: code %d, %s", code, stdout)
	}
	if code, _, stdout, _ := execute(t, nil, nil, "--version"); code != 0 || !strings.HasPrefix(stdout, "thing "+release.Version+" (go") {
		t.Errorf("--version: code %d, %q", code, stdout)
	}
	if code, _, stdout, _ := execute(t, nil, nil, "--help"); code != 0 || !strings.Contains(stdout, "--slots") || !strings.Contains(stdout, "LEAT_SLOTS") {
		t.Errorf("--help: code %d, %s", code, stdout)
	}
}
