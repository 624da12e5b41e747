package operatortest

import (
	"slices"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// output keeps what a subtask emits.
type output struct {
	h   *Harness
	sub *Subtask
}

var _ operators.Output = (*output)(nil)

func (o *output) put(e Emitted) {
	e.Subtask = o.sub.Index
	o.h.Out = append(o.h.Out, e)
}

// Emit implements operators.Output.
func (o *output) Emit(b *columnar.Batch) { o.put(Emitted{Batch: b}) }

// EmitSide implements operators.Output.
func (o *output) EmitSide(tag string, b *columnar.Batch) {
	if o.HasSide(tag) {
		o.put(Emitted{Side: tag, Batch: b})
	}
}

// EmitWatermark implements operators.Output.
func (o *output) EmitWatermark(wm int64) { o.put(Emitted{Watermark: &wm}) }

// EmitIdle implements operators.Output.
func (o *output) EmitIdle(idle bool) { o.put(Emitted{Idle: &idle}) }

// Ready implements operators.Output.
func (o *output) Ready() bool {
	o.h.asked++
	return o.h.cfg.NotReady <= 0 || o.h.asked%o.h.cfg.NotReady != 0
}

// HasSide implements operators.Output.
func (o *output) HasSide(tag string) bool { return slices.Contains(o.h.cfg.Sides, tag) }

// Rows returns the rows of an output ("" is the main one) emitted since the
// last Take.
func Rows[T any](h *Harness, side string) []T {
	var out []T
	for _, e := range h.Out {
		if e.Batch != nil && e.Side == side {
			out = append(out, columnar.Rows[T](e.Batch)...)
		}
	}
	return out
}

// Times returns the event times of Rows.
func Times[T any](h *Harness, side string) []int64 {
	var out []int64
	for _, e := range h.Out {
		if e.Batch == nil || e.Side != side {
			continue
		}
		for i := range columnar.Rows[T](e.Batch) {
			out = append(out, e.Batch.Time(i))
		}
	}
	return out
}

// Take returns what was emitted and forgets it.
func (h *Harness) Take() []Emitted {
	out := h.Out
	h.Out = nil
	return out
}

// Metrics keeps an operator's figures.
type Metrics struct {
	mu       sync.Mutex
	counters map[string]*counter       // guarded by mu
	gauges   map[string]func() float64 // guarded by mu
}

var _ operators.Metrics = (*Metrics)(nil)

// NewMetrics returns figures that are all zero.
func NewMetrics() *Metrics {
	return &Metrics{counters: make(map[string]*counter), gauges: make(map[string]func() float64)}
}

// Counter implements operators.Metrics.
func (m *Metrics) Counter(name string) operators.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counters[name]
	if c == nil {
		c = &counter{}
		m.counters[name] = c
	}
	return c
}

// Gauge implements operators.Metrics.
func (m *Metrics) Gauge(name string, read func() float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges[name] = read
}

// Read returns the value of a gauge, and whether there is one.
func (m *Metrics) Read(name string) (float64, bool) {
	m.mu.Lock()
	read := m.gauges[name]
	m.mu.Unlock()
	if read == nil {
		return 0, false
	}
	return read(), true
}

type counter struct {
	mu sync.Mutex
	n  int64 // guarded by mu
}

// Add implements operators.Counter.
func (c *counter) Add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

// Value implements operators.Counter.
func (c *counter) Value() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
