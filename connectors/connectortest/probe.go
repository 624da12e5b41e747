package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// Check is one promise of connectors, for cases of type C.
type Check[C any] struct {
	// Name says the promise, as a sentence whose subject is the connector.
	Name string
	// Run returns how the connector breaks it, nil if it does not.
	Run func(ctx context.Context, c C) error
}

func test[C any](t *testing.T, checks []Check[C], c C) {
	t.Helper()
	for _, check := range checks {
		t.Run(check.Name, func(t *testing.T) {
			if err := check.Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		})
	}
}

const (
	// checkWait bounds a check: longer means that a call does not return.
	checkWait = 2 * time.Minute
	// quietWait bounds how long a connector may have nothing to say while it
	// should have.
	quietWait = 10 * time.Second
	// leakWait bounds the time that goroutines take to end after Close.
	leakWait  = 5 * time.Second
	pollEvery = time.Millisecond
)

// probe is what a check talks to. Its Fatalf ends the check.
type probe struct {
	ctx     context.Context //nolint:containedctx // the check's, which is one call
	err     error
	cleanup []func()
}

func checkOf[C any](name string, fn func(p *probe, c C)) Check[C] {
	return Check[C]{Name: name, Run: func(ctx context.Context, c C) error {
		return run(ctx, func(p *probe) { fn(p, c) })
	}}
}

// run runs a check on a goroutine whose label all those have that the
// connector starts, so that what it leaves behind is found.
func run(ctx context.Context, fn func(p *probe)) error {
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	label := string(dataflow.NewJobID())
	p := &probe{}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		pprof.Do(ctx, pprof.Labels(labelKey, label), func(ctx context.Context) {
			defer p.end()
			p.ctx = ctx
			fn(p)
		})
	})
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("a call has not returned within %s:\n%s", checkWait, labelled(label))
	}
	if p.err != nil {
		return p.err
	}
	return leaks(label)
}

const labelKey = "connectortest"

// labelled are the stacks of the goroutines with a label, "" if there are none.
func labelled(label string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return err.Error()
	}
	var out []string
	for part := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(part, label) {
			out = append(out, part)
		}
	}
	return strings.Join(out, "\n\n")
}

func leaks(label string) error {
	machine := clock.Real{}
	start := machine.Now()
	tick := machine.NewTimer(pollEvery)
	defer tick.Stop()
	for {
		left := labelled(label)
		if left == "" {
			return nil
		}
		if machine.Since(start) > leakWait {
			return fmt.Errorf("goroutines are left after Close:\n%s", left)
		}
		<-tick.C()
		tick.Reset(pollEvery)
	}
}

// end closes what the check has open, and takes a panic of the connector.
func (p *probe) end() {
	if v := recover(); v != nil {
		p.err = errors.Join(p.err, fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
	}
	for i := len(p.cleanup) - 1; i >= 0; i-- {
		p.cleanup[i]()
	}
}

// later runs fn when the check ends, the last one first.
func (p *probe) later(fn func()) { p.cleanup = append(p.cleanup, fn) }

// failf ends the check.
func (p *probe) failf(format string, args ...any) {
	p.err = errors.Join(p.err, fmt.Errorf(format, args...))
	runtime.Goexit()
}

// must ends the check when a call of the connector failed.
func (p *probe) must(err error, call string) {
	if err != nil {
		p.failf("%s: %w", call, err)
	}
}

// waker is the Wake of a context.
type waker chan struct{}

func newWaker() waker { return make(waker, 1) }

func (w waker) wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// wait waits for Wake; false: it did not come.
func (w waker) wait(p *probe) bool {
	timer := clock.Real{}.NewTimer(quietWait)
	defer timer.Stop()
	select {
	case <-w:
		return true
	case <-p.ctx.Done():
		return false
	case <-timer.C():
		return false
	}
}
