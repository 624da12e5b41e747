//go:build e2e

package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatstream/leat/test/chaos/netlab"
	"github.com/leatstream/leat/test/chaos/s3front"
	"github.com/leatstream/leat/test/e2e/rig"
)

// taskManagers with one slot each; the job uses two.
const taskManagers = 3

// diskSize is the disk of each taskmanager: the bundle, and some state.
const diskSize = "256m"

// cluster is what is broken.
type cluster struct {
	*rig.Rig
	lab   *netlab.Lab
	front *s3front.Front
	// store is the address of front: what talks to it talks to S3.
	store string
}

// startCluster runs a cluster whose groups are apart from each other.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	var err error
	if c.lab, err = netlab.New(); err != nil {
		t.Fatal(err)
	}
	for i := range taskManagers {
		if err := c.mountDisk(fmt.Sprintf("tm-%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"jm-1", "jm-2", "tm-1", "tm-2", "tm-3"} {
		if err := setClock(id, 0); err != nil {
			t.Fatal(err)
		}
	}
	c.Rig, err = rig.Start(t.Context(), rig.Config{
		Module: module(), Programs: programs(), Dir: data, TaskManagers: taskManagers, Network: c.lab,
		Front: c.startFront, Env: func(id string) []string { return []string{"LEAT_CLOCK_STEP=" + clockFile(id)} },
	})
	t.Cleanup(func() {
		var errs []error
		if c.Rig != nil {
			errs = append(errs, c.Rig.Close())
		}
		if c.front != nil {
			errs = append(errs, c.front.Close())
		}
		if err := errors.Join(append(errs, c.lab.Close())...); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("logs and data are in %s", data)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) startFront(_ context.Context, url string) (_ string, err error) {
	if c.store, err = c.lab.Alias(); err != nil {
		return "", err
	}
	c.front, err = s3front.Start(c.store, url)
	if err != nil {
		return "", err
	}
	return c.front.URL(), nil
}

// mountDisk gives a taskmanager a small disk of its own.
func (c *cluster) mountDisk(id string) error {
	dir := filepath.Join(data, id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("leat-"+id, dir, "tmpfs", 0, "size="+diskSize); err != nil {
		return fmt.Errorf("disk of %s: %w", id, err)
	}
	return nil
}

const (
	fillName  = "filler"
	fillChunk = 1 << 20
)

// fillDisk leaves no byte free.
func fillDisk(id string) error {
	f, err := os.Create(filepath.Join(data, id, fillName))
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, fillChunk)
	for len(b) > 0 {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return nil
}

func freeDisk(id string) error { return os.Remove(filepath.Join(data, id, fillName)) }

func clockFile(id string) string { return filepath.Join(data, "clock-"+id) }

// setClock makes the wall clock of a jobmanager, or of a taskmanager and its
// workers, differ from the machine's.
func setClock(id string, seconds int64) error {
	f, err := os.OpenFile(clockFile(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	return err
}
