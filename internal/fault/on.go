//go:build failpoints

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leatstream/leat/internal/clock"
)

// Enabled says whether the build has failpoints.
const Enabled = true

// Environment returns the variables that a process which starts others must
// hand on, so that their failpoints act too.
func Environment() map[string]string {
	out := map[string]string{}
	for _, name := range []string{"LEAT_FAILPOINTS", "LEAT_FAILPOINTS_DIR", clock.EnvStep} {
		if v, ok := os.LookupEnv(name); ok {
			out[name] = v
		}
	}
	return out
}

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
	case actRemote:
		remote(p)
	case actCrash:
		if first(p) {
			die()
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

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// holdMax bounds how long a test may hold a process, and holdPoll is how often
// it is looked whether it still does.
const (
	holdMax  = 10 * time.Second
	holdPoll = time.Millisecond
)

// remote does what the files of LEAT_FAILPOINTS_DIR say.
func remote(p Point) {
	dir := os.Getenv("LEAT_FAILPOINTS_DIR")
	if dir == "" {
		return
	}
	c := clock.Real{}
	began := c.Now()
	trace(dir, fmt.Sprintf("%d %d %s\n", began.UnixNano(), os.Getpid(), p))
	file := filepath.Join(dir, string(p))
	// Of several processes that hit it at once, the one that removes the file dies.
	if os.Remove(file+".crash") == nil {
		die()
	}
	for c.Since(began) < holdMax {
		if _, err := os.Stat(file + ".hold"); err != nil {
			return
		}
		c.Sleep(holdPoll)
	}
}

// trace adds a line to the trace; a line that is lost fails the test that
// misses it.
func trace(dir, line string) {
	f, err := os.OpenFile(filepath.Join(dir, "trace"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.WriteString(line)
	_ = f.Close()
}
