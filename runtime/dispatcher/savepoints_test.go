package dispatcher_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// put and get are objects of the cluster's store.
func (c *cluster) put(key string, data []byte) {
	c.t.Helper()
	if err := c.store.Put(c.t.Context(), key, bytes.NewReader(data), int64(len(data))); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(key string) []byte {
	c.t.Helper()
	r, err := c.store.Get(c.t.Context(), key, 0, -1)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// keyOf is the key of an object that people know by its URI.
func (c *cluster) keyOf(uri string) string {
	return strings.TrimPrefix(uri, strings.TrimSuffix(c.store.URI("x"), "x"))
}

// copyTo copies a savepoint as a folder and returns the key of its manifest.
func (c *cluster) copyTo(key, dir string) string {
	c.t.Helper()
	from := strings.TrimSuffix(key, "manifest")
	for info, err := range c.store.List(c.t.Context(), from) {
		if err != nil {
			c.t.Fatal(err)
		}
		c.put(dir+strings.TrimPrefix(info.Key, from), c.get(info.Key))
	}
	return dir + "manifest"
}

// savepointOf stops a job with a savepoint and returns its key.
func (c *cluster) savepointOf(id dataflow.JobID) string {
	c.t.Helper()
	op, err := c.d.Stop(c.t.Context(), id, jobview.StopRequest{Stop: true})
	if err != nil {
		c.t.Fatal(err)
	}
	done := c.operation(id, op)
	if done.Failure != nil {
		c.t.Fatal(done.Failure)
	}
	return c.keyOf(done.Path)
}

// A savepoint that was copied elsewhere is started from there, and deleted
// there without what people keep beside it.
func TestCopiedSavepoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		tm := c.join("tm-1", 2)
		first := c.submit(jobview.Submission{})
		c.until(first, jobview.JobRunning)
		seconds(2)
		key := c.savepointOf(first)
		moved := c.copyTo(key, "backups/2026/")
		c.put("backups/2026/notes/why", []byte("the last one before the move"))
		if _, err := c.d.DeleteSavepoint(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		second := c.submit(jobview.Submission{FromSavepoint: c.store.URI("backups/2026")})
		c.until(second, jobview.JobRunning)
		for _, h := range tm.running(second)[0].deploy.Restore.Handles {
			if h.GetObject() != "" && !strings.HasPrefix(h.GetObject(), "backups/2026/") {
				t.Errorf("state is restored from %s", h.GetObject())
			}
		}
		seconds(3)
		freed, err := c.d.DeleteSavepoint(t.Context(), c.store.URI(moved))
		if err != nil || freed.Objects == 0 {
			t.Fatal(freed, err)
		}
		if _, err := c.store.Stat(t.Context(), moved); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the manifest is still there: %v", err)
		}
		c.get("backups/2026/notes/why")
	})
}

// What a checkpoint that a job keeps needs is not deleted with a savepoint.
func TestSavepointThatACheckpointNeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.join("tm-1", 2)
		first := c.submit(jobview.Submission{})
		c.until(first, jobview.JobRunning)
		seconds(2)
		key := c.savepointOf(first)
		second := c.submit(jobview.Submission{FromSavepoint: c.store.URI(key)})
		c.until(second, jobview.JobRunning)
		seconds(3)
		v, err := c.d.Job(second)
		if err != nil {
			t.Fatal(err)
		}
		latest := c.keyOf(v.Checkpoints.Latest.Path)
		m, err := manifest.Decode(latest, c.get(latest))
		if err != nil {
			t.Fatal(err)
		}
		file := strings.TrimSuffix(key, "manifest") + "shared.state"
		c.put(file, []byte("shared"))
		m.Objects = append(m.Objects, &checkpointv1.Object{Key: file, Size: 6})
		b, err := manifest.Encode(latest, m)
		if err != nil {
			t.Fatal(err)
		}
		c.put(latest, b)
		if _, err := c.d.DeleteSavepoint(t.Context(), c.store.URI(key)); !hasCode(err, "LEAT4210") {
			t.Fatalf("a savepoint with a file that a checkpoint needs: %v", err)
		}
		c.get(key)
		seconds(5) // later checkpoints do not need it
		if _, err := c.d.DeleteSavepoint(t.Context(), c.store.URI(key)); err != nil {
			t.Fatal(err)
		}
	})
}
