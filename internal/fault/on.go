//go:build failpoints

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/leatstream/leat/internal/clock"
)

// Enabled says whether the build has failpoints.
const Enabled = true

type armed struct {
	rule
	hits atomic.Int64
}

// armedPoints reads the environment once.
var armedPoints = sync.OnceValue(func() map[Point]*armed {
	rules, err := parse(os.Getenv("LEAT_FAILPOINTS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "LEAT_FAILPOINTS:", err)
		os.Exit(2)
	}
	out := map[Point]*armed{}
	for p, r := range rules {
		out[p] = &armed{rule: r}
	}
	return out
})

// Hit acts as the environment says. It returns an error only for the action
// error.
func Hit(p Point) error {
	a := armedPoints()[p]
	if a == nil {
		return nil
	}
	if n := a.hits.Add(1); a.at != 0 && n != a.at {
		return nil
	}
	switch a.action {
	case actError:
		return fmt.Errorf("failpoint %s", p)
	case actDelay:
		clock.Real{}.Sleep(a.delay)
	case actCrash:
		if first(p) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	case actExit:
		if first(p) {
			os.Exit(137)
		}
	}
	return nil
}

// first reports whether p has not crashed a process before.
func first(p Point) bool {
	dir := os.Getenv("LEAT_FAILPOINTS_DIR")
	if dir == "" {
		return true
	}
	f, err := os.OpenFile(filepath.Join(dir, string(p)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	_ = f.Close()
	fmt.Fprintln(os.Stderr, "failpoint:", p)
	return true
}
