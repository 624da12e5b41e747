package window

import (
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Context is what the function of a window may use. It belongs to the
// operator.
type Context[K comparable, O any] struct {
	op        *operators.Context
	key       K
	win       Window
	time      int64
	watermark int64
	global    *state.Keyed
	perWindow *state.Keyed
	tables    recorder
	rows      columnar.Builder[O]
	policy    *policy // nil: what fails, fails the attempt
}

func (c *Context[K, O]) open(op *operators.Context) {
	c.op = op
	backend := op.State
	if c.policy = newPolicy(op); c.policy != nil {
		backend = c.policy.undo
	}
	c.tables = recorder{Backend: backend}
	c.global = state.NewKeyed(backend)
	c.perWindow = state.NewKeyed(&c.tables)
}

// enter makes a window the one in work.
func (c *Context[K, O]) enter(w Window, k state.Key) {
	c.win = w
	c.global.SetKey(k)
	c.perWindow.SetKey(k)
	// Windows of a key may have their start in common, or their end.
	c.perWindow.SetNamespace(int64(uint64(w.start)*0x9e3779b97f4a7c15 ^ uint64(w.end)))
}

// clear drops the state of the window in work.
func (c *Context[K, O]) clear() {
	for _, t := range c.tables.made {
		t.Delete(c.perWindow.Namespace(), c.perWindow.Key())
	}
}

// Key returns the key.
func (c *Context[K, O]) Key() K { return c.key }

// Window returns the window.
func (c *Context[K, O]) Window() Window { return c.win }

// Watermark returns the time at or before which no row is expected any more;
// ok is false before the first.
func (c *Context[K, O]) Watermark() (t time.Time, ok bool) {
	return time.UnixMilli(c.watermark).UTC(), c.watermark != dataflow.TimeMin
}

// Now returns the processing time.
func (c *Context[K, O]) Now() time.Time { return c.op.Clock.Now() }

// State is where handles of the state of a key are made from, in Open: all
// windows of a key have it in common, and it stays.
func (c *Context[K, O]) State() *state.Keyed { return c.global }

// WindowState is where handles of the state of a key and window are made
// from, in Open: it is dropped with the window.
func (c *Context[K, O]) WindowState() *state.Keyed { return c.perWindow }

// Info names the subtask.
func (c *Context[K, O]) Info() dataflow.TaskInfo { return c.op.Info }

// Counter returns a counter of the operator's metrics.
func (c *Context[K, O]) Counter(name string) operators.Counter { return c.op.Metrics.Counter(name) }

// Emit adds a row to the output. Its event time is the last instant of the
// window, or that of the row in work in the window of all times.
func (c *Context[K, O]) Emit(v O) {
	at := c.win.last()
	if c.win.IsGlobal() {
		at = c.time
	}
	c.rows.Add(v, at)
	if c.rows.Full() && !c.policy.trying() {
		c.flush()
	}
}

func (c *Context[K, O]) flush() {
	c.policy.flush()
	if b := c.rows.Take(); b != nil {
		c.op.Out.Emit(b)
	}
}

// recorder is a backend that remembers which tables were made.
type recorder struct {
	state.Backend
	made []state.Table
}

// Table implements state.Backend.
func (r *recorder) Table(d state.Descriptor) (state.Table, error) {
	t, err := r.Backend.Table(d)
	if err == nil {
		r.made = append(r.made, t)
	}
	return t, err
}
