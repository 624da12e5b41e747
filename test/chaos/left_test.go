//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/test/e2e/rig"
)

// things are what a job leaves: objects, keys of etcd and files of
// taskmanagers, by name with numbers blotted out.
type things map[string]int

// settleMax is how long what is deleted behind the job's back may take.
const settleMax = 20 * time.Second

// leftovers returns what there is of a job that has ended, once it does not
// change any more.
func (c *cluster) leftovers(ctx context.Context, job string) (things, error) {
	var last things
	since := time.Now()
	for began := time.Now(); time.Since(since) < time.Second; {
		now, err := c.look1(ctx, job)
		if err != nil {
			return nil, err
		}
		if !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(began) > settleMax {
			return nil, fmt.Errorf("objects and keys of job %s still change %s after its end", job, settleMax)
		}
		if err := rig.Pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// perJob are files of taskmanagers that belong to a worker or a transfer. Logs
// stay for people, and the bundles' cache and copies of state, which have
// bounds, for what comes next.
var perJob = regexp.MustCompile(`^tm-[0-9]+/(run|spool)/`)

const stateSuffix = ".state"

// unreferenced returns the state of a job that no manifest names, and how many
// objects with state there are.
func (c *cluster) unreferenced(job string) (orphans []string, all int, err error) {
	dir := filepath.Join(c.ObjectFolder(), "jobs", job)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		return nil, 0, err
	}
	named := make(map[string]bool)
	for _, path := range files {
		if filepath.Base(path) != "manifest" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, 0, err
		}
		key, err := filepath.Rel(c.ObjectFolder(), path)
		if err != nil {
			return nil, 0, err
		}
		m, err := manifest.Decode(key, data)
		if err != nil {
			return nil, 0, err
		}
		for _, o := range m.GetObjects() {
			named[o.GetKey()] = true
		}
	}
	for _, path := range files {
		key, err := filepath.Rel(c.ObjectFolder(), path)
		if err != nil {
			return nil, 0, err
		}
		if strings.HasSuffix(key, stateSuffix) {
			all++
			if !named[key] {
				orphans = append(orphans, key)
			}
			delete(named, key)
		}
	}
	for key := range named {
		orphans = append(orphans, key+", which a manifest names, but does not exist")
	}
	return orphans, all, nil
}

var number = regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`)

func (c *cluster) look1(ctx context.Context, job string) (things, error) {
	out := make(things)
	add := func(kind, name string) {
		out[kind+" "+number.ReplaceAllString(strings.ReplaceAll(name, job, "JOB"), "#")]++
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if strings.Contains(k, job) {
			add("key", k)
		}
	}
	for kind, dir := range map[string]string{"object": c.ObjectFolder(), "file": data} {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // it may be deleted while it is looked at
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			switch {
			case kind == "object" && strings.HasSuffix(name, stateSuffix): // see unreferenced
			case kind == "object" && strings.Contains(name, job), kind == "file" && perJob.MatchString(name):
				add(kind, name)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// differ names what is in one of both only.
func (a things) differ(b things) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if a[k] != b[k] {
			out = append(out, fmt.Sprintf("%d of %s, not %d", b[k], k, a[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if b[k] == 0 {
			out = append(out, fmt.Sprintf("none of %s, not %d", k, a[k]))
		}
	}
	return strings.Join(out, "; ")
}
