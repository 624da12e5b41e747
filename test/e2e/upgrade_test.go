//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
)

// variant is the orders job, changed at one place.
type variant struct{ name, old, now string }

var (
	wider = variant{
		"wider", "\tOrders, Cents int64\n", "\tOrders, Cents int64\n\tBiggest int64\n",
	}
	renamed = variant{"renamed", `stream.UID("revenue-per-region")`, `stream.UID("revenue-by-region")`}
	broken  = variant{"broken", "return o.Amount > 0 }", `panic("broken from the start") }`}
	// brokenLater has taken checkpoints, and so committed output, before it fails
	// for good: MARK tells the worker that follows that it has failed.
	brokenLater = variant{"broken-later", "return o.Amount > 0 }", `
		if _, err := os.Stat("MARK"); err == nil || time.Since(began) > 4*time.Second {
			_ = os.WriteFile("MARK", nil, 0o644)
			panic("broken later")
		}
		return o.Amount > 0 }`}
)

// bundle builds the variant.
func (v variant) bundle(t *testing.T) string {
	t.Helper()
	file := filepath.Join(module(), "examples/orders/pipeline.go")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), v.old, v.now, 1)
	if text == string(b) {
		t.Fatalf("%s: the program has no %q", v.name, v.old)
	}
	dir := t.TempDir()
	if strings.Contains(text, "MARK") {
		text = strings.ReplaceAll(text, "MARK", filepath.Join(dir, "failed"))
		text = strings.Replace(text, "import (\n", "import (\n\t\"os\"\n", 1) + "\nvar began = time.Now()\n"
	}
	changed, overlay := filepath.Join(dir, "pipeline.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, v.name+".bundle")
	flags := os.Getenv("GOFLAGS") + " -tags=failpoints -overlay=" + overlay
	if err := command(flags, filepath.Join(programs, "flinkctl"), "bundle", "build", "./examples/orders", "-o", out); err != nil {
		t.Fatal(err)
	}
	return out
}

// upgrade replaces the program of the job; want is what flinkctl says in the
// end, "" when all goes well.
func (x *run) upgrade(ctx context.Context, bundle string, want ...string) error {
	_, err := x.rig.Flinkctl(ctx, "job", "upgrade", x.name, bundle, "--probation", "8s", "-o", "json")
	switch {
	case len(want) == 0 && err != nil:
		return err
	case len(want) > 0 && err == nil:
		return fmt.Errorf("flinkctl says nothing of %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			return fmt.Errorf("flinkctl says nothing of %q: %w", w, err)
		}
	}
	return x.follow(ctx)
}

// follow makes the job of that name that lives the run's own.
func (x *run) follow(ctx context.Context) error {
	out, err := x.rig.Flinkctl(ctx, "job", "get", x.name, "-o", "json")
	if err != nil {
		return err
	}
	var j struct {
		ID    string `json:"jid"`
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		return err
	}
	if j.State != "RUNNING" {
		return fmt.Errorf("job %s is %s", x.name, j.State)
	}
	x.id = j.ID
	return nil
}

// TestUpgrade replaces the program of a job while orders come in: by one that
// does not fit, by one that fails at once, by one that fails when it has
// committed output, and by one that is well. The output is that of one run.
func TestUpgrade(t *testing.T) {
	r := start(t, 3)
	ctx, rng := t.Context(), random("upgrade")
	bundles := make(map[string]string)
	for _, v := range []variant{wider, renamed, broken, brokenLater} {
		bundles[v.name] = v.bundle(t)
	}
	x, err := begin(ctx, r, "upgrade", rng, 8**orders, 4*time.Hour, 8**pace)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		bundle  string
		want    []string
		stopped bool // the job was another one after it
	}{
		{renamed.name, []string{"exit status 9", "refused: nothing was stopped", "LEAT4202"}, false},
		{broken.name, []string{"exit status 8", "the old one goes on from the savepoint", "LEAT3105", "broken from the start"}, true},
		{brokenLater.name, []string{"exit status 8", "has committed its checkpoint", "the old one goes on from there", "LEAT3105", "broken later"}, true},
		{wider.name, nil, true},
	} {
		if err := x.awaitCheckpoint(ctx); err != nil {
			t.Fatal(err)
		}
		before, began := x.id, time.Now()
		if err := x.upgrade(ctx, bundles[step.bundle], step.want...); err != nil {
			t.Fatalf("%s: %v", step.bundle, err)
		}
		if (x.id != before) != step.stopped {
			t.Fatalf("%s: job %s was %s", step.bundle, x.id, before)
		}
		t.Logf("%s: as it must be, after %s", step.bundle, time.Since(began).Round(100*time.Millisecond))
	}
	if _, err := x.finish(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows equal the answer, %d late, %d dead letters", len(res.Rows), res.Late, res.DeadLetters)
}

// TestMovedSavepoint starts a job from copies of its savepoints: under another
// prefix, the original deleted, and in the bucket of another cluster.
func TestMovedSavepoint(t *testing.T) {
	r := start(t, 2)
	ctx, rng := t.Context(), random("moved")
	x, err := begin(ctx, r, "moved", rng, 2**orders, 2*time.Hour, 2**pace)
	if err != nil {
		t.Fatal(err)
	}
	move := func(to string) (from string) {
		if err := x.awaitCheckpoint(ctx); err != nil {
			t.Fatal(err)
		}
		from, err := x.stop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.CopyObjects(ctx, strings.TrimSuffix(from, "manifest"), to)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("copied %d objects from %s to %s", n, from, to)
		return from
	}

	const moved = "s3://leat/cluster/moved/here/"
	from := move(moved)
	if a, b := exported(t, r, from), exported(t, r, moved); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%d lines of the original, %d of the copy", len(a), len(b))
	}
	out, err := r.Flinkctl(ctx, "savepoint", "delete", from, "--yes", "--confirm", from)
	if err != nil || !regexp.MustCompile(`[0-9.]+[KMi]*B +[2-9] +s3://`).MatchString(out) {
		t.Fatalf("%q, %v", out, err)
	}
	if err := x.submit(ctx, 1, "--from-savepoint", moved); err != nil {
		t.Fatal(err)
	}

	const other = "s3://other/cluster/from-elsewhere/"
	o, err := r.Beside(ctx, "other", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	from = move(other)
	x.rig = o
	if err := x.submit(ctx, 2, "--from-savepoint", from); err == nil || !strings.Contains(err.Error(), "LEAT4207") {
		t.Errorf("a start from the other cluster's storage: %v", err)
	}
	if err := x.submit(ctx, 2, "--from-savepoint", other); err != nil {
		t.Fatal(err)
	}
	if _, err := x.finish(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := x.prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows equal the answer, %d late, %d dead letters", len(res.Rows), res.Late, res.DeadLetters)
}

// exported is the keyed state of a savepoint that only the jobmanager reads.
func exported(t *testing.T, r *rig.Rig, at string) []string {
	t.Helper()
	out, err := r.Flinkctl(t.Context(), "savepoint", "export", at)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	return lines
}
