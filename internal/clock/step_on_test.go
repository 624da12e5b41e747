//go:build failpoints

package clock

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStep sets the wall time back and forth under a running process. It sets
// the environment, so it does not run beside others.
func TestStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "step")
	step := func(seconds int64) {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0); err != nil {
			t.Fatal(err)
		}
	}
	step(0)
	t.Setenv(EnvStep, file)
	began := Real{}.Now()
	for _, seconds := range []int64{3600, -3600, -86_400, 5, 0} {
		step(seconds)
		now := Real{}.Now()
		want := time.Duration(seconds) * time.Second
		if off := time.Until(now.Round(0)) - want; off < -time.Minute || off > time.Minute {
			t.Errorf("stepped by %s, the wall time is off by %s more", want, off)
		}
		if d := (Real{}).Since(began); d < 0 || d > time.Minute {
			t.Errorf("stepped by %s, %s have passed since the begin", want, d)
		}
		if d := now.Sub(began); d < 0 || d > time.Minute {
			t.Errorf("stepped by %s, the difference to the begin is %s", want, d)
		}
	}
}
