package task

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
)

// class says what a task's time goes to.
type class uint8

const (
	classBusy class = iota
	classIdle
	classBackPressured
	classes
)

// figures are written by the task and read from anywhere.
type figures struct {
	recordsIn  atomic.Int64
	recordsOut atomic.Int64
	bytesIn    atomic.Int64
	bytesOut   atomic.Int64
	nanos      [classes]atomic.Int64
	watermark  atomic.Int64
	stateBytes atomic.Int64
}

// account books the time since the last step to what that step ended as.
func (t *Task) account(now time.Time) {
	if !t.now.IsZero() {
		if d := now.Sub(t.now); d > 0 {
			t.figures.nanos[t.class].Add(int64(d))
		}
	}
	t.now = now
}

// Metrics reads the task's figures; safe from any goroutine.
func (t *Task) Metrics() *controlv1.SubtaskMetrics {
	f := &t.figures
	millis := func(c class) int64 { return f.nanos[c].Load() / int64(time.Millisecond) }
	return &controlv1.SubtaskMetrics{
		Subtask:             t.ref(),
		RecordsIn:           f.recordsIn.Load(),
		RecordsOut:          f.recordsOut.Load(),
		BytesIn:             f.bytesIn.Load(),
		BytesOut:            f.bytesOut.Load(),
		BusyMillis:          millis(classBusy),
		IdleMillis:          millis(classIdle),
		BackPressuredMillis: millis(classBackPressured),
		Watermark:           f.watermark.Load(),
		OperatorMetrics:     t.metrics.read(),
		StateBytes:          f.stateBytes.Load(),
	}
}

func (t *Task) ref() *controlv1.SubtaskRef {
	return &controlv1.SubtaskRef{Vertex: int32(t.cfg.Vertex.Index), Subtask: int32(t.cfg.Subtask)}
}

// metricSet holds the figures of all operators of a task.
type metricSet struct {
	mu       sync.Mutex
	counters map[string]*counter       // guarded by mu
	gauges   map[string]func() float64 // guarded by mu
}

func (s *metricSet) read() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]float64, len(s.counters)+len(s.gauges))
	for name, c := range s.counters {
		out[name] = float64(c.Value())
	}
	for name, g := range s.gauges {
		out[name] = g()
	}
	return out
}

// operatorMetrics is an operator's view of its task's figures.
type operatorMetrics struct {
	set    *metricSet
	prefix string
}

var _ operators.Metrics = operatorMetrics{}

func newOperatorMetrics(set *metricSet, op dataflow.OperatorID) operatorMetrics {
	return operatorMetrics{set: set, prefix: string(op) + "."}
}

// Counter implements operators.Metrics.
func (m operatorMetrics) Counter(name string) operators.Counter {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if m.set.counters == nil {
		m.set.counters = make(map[string]*counter)
	}
	c := m.set.counters[m.prefix+name]
	if c == nil {
		c = &counter{}
		m.set.counters[m.prefix+name] = c
	}
	return c
}

// Gauge implements operators.Metrics.
func (m operatorMetrics) Gauge(name string, read func() float64) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	if m.set.gauges == nil {
		m.set.gauges = make(map[string]func() float64)
	}
	m.set.gauges[m.prefix+name] = read
}

// measureState shows the sizes of an operator's state on disk.
func (t *Task) measureState(n *node) {
	d, ok := n.state.(state.OnDisk)
	if !ok {
		return
	}
	m := newOperatorMetrics(&t.metrics, n.spec.ID)
	m.Gauge("stateDiskBytes", func() float64 { return float64(d.DiskBytes()) })
	m.Gauge("stateCacheBytes", func() float64 { return float64(d.CacheBytes()) })
}

type counter struct{ n atomic.Int64 }

// Add implements operators.Counter.
func (c *counter) Add(n int64) { c.n.Add(n) }

// Value implements operators.Counter.
func (c *counter) Value() int64 { return c.n.Load() }
