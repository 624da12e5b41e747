//go:build failpoints

package fault

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRemote holds a point and lets it go; a point nobody holds only leaves
// its line. It sets the environment, so it does not run beside others.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LEAT_FAILPOINTS_DIR", dir)
	rules, err := parse("*=remote")
	if err != nil || len(rules) != len(Names()) || rules[WorkerBeforeAck].action != actRemote {
		t.Fatalf("rules %v, error %v", rules, err)
	}
	remote(WorkerBeforeAck)
	hold := filepath.Join(dir, string(KafkaSinkAfterSeal)+".hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Bool
		go func() {
			remote(KafkaSinkAfterSeal)
			over.Store(true)
		}()
		time.Sleep(holdMax / 2)
		if over.Load() {
			t.Error("the point was not held")
		}
		if err := os.Remove(hold); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * holdPoll)
		if !over.Load() {
			t.Error("the point was not let go")
		}
	})
	b, err := os.ReadFile(filepath.Join(dir, "trace"))
	if got := strings.Fields(string(b)); err != nil || len(got) != 6 || got[2] != "worker.before-ack" || got[5] != "kafka.sink.after-seal" {
		t.Errorf("trace %q, error %v", b, err)
	}
}
