// Package measure holds the figures that user code keeps beside counters:
// meters, histograms, and accumulators, which are totals over all subtasks for
// the result of a job. They are shown through operators.Metrics, as gauges.
package measure

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
)

// Meter measures how often something happens, per second over the last
// minute. It is safe for concurrent use.
type Meter struct {
	clock clock.Clock
	n     atomic.Int64
	mu    sync.Mutex
	seen  []sample // guarded by mu; oldest first
}

type sample struct {
	at time.Time
	n  int64
}

const (
	meterSpan = time.Minute
	// meterStep is the least time between two samples: it bounds their number.
	meterStep = time.Second
)

// NewMeter registers a meter: its rate is shown under the name.
func NewMeter(m operators.Metrics, c clock.Clock, name string) *Meter {
	t := &Meter{clock: c, seen: []sample{{at: c.Now()}}}
	m.Gauge(name, t.Rate)
	return t
}

// Mark says that it happened n times. It reads no clock.
func (m *Meter) Mark(n int64) { m.n.Add(n) }

// Count returns how often it happened in all.
func (m *Meter) Count() int64 { return m.n.Load() }

// Rate returns the number per second over the last minute, or since the start.
func (m *Meter) Rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := m.clock.Now(), m.n.Load()
	for len(m.seen) > 1 && now.Sub(m.seen[1].at) >= meterSpan {
		m.seen = m.seen[1:]
	}
	first := m.seen[0]
	if now.Sub(m.seen[len(m.seen)-1].at) >= meterStep {
		m.seen = append(m.seen, sample{now, n})
	}
	if d := now.Sub(first.at).Seconds(); d > 0 {
		return float64(n-first.n) / d
	}
	return 0
}

// histogramWindow is the number of latest values that a histogram tells of.
const histogramWindow = 1024

// Histogram tells how the latest 1,024 values are spread. It is safe for
// concurrent use.
type Histogram struct {
	mu     sync.Mutex
	count  int64
	latest []float64 // guarded by mu; a ring
	sorted []float64 // guarded by mu; of sortedAt values
	at     int64
}

// quantiles are shown under a histogram's name with these suffixes.
func quantiles() map[string]float64 {
	return map[string]float64{
		"_min": 0, "_median": 0.5, "_p75": 0.75, "_p90": 0.9, "_p95": 0.95, "_p98": 0.98, "_p99": 0.99, "_p999": 0.999, "_max": 1,
	}
}

// NewHistogram registers a histogram: name_count, name_mean, name_stddev,
// name_min, name_max, name_median and name_p75 to name_p999 are shown.
func NewHistogram(m operators.Metrics, name string) *Histogram {
	h := &Histogram{}
	for suffix, q := range quantiles() {
		m.Gauge(name+suffix, func() float64 { return h.Quantile(q) })
	}
	m.Gauge(name+"_count", func() float64 { return float64(h.Count()) })
	m.Gauge(name+"_mean", func() float64 { mean, _ := h.moments(); return mean })
	m.Gauge(name+"_stddev", func() float64 { _, dev := h.moments(); return dev })
	return h
}

// Update adds a value.
func (h *Histogram) Update(v float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.latest) < histogramWindow {
		h.latest = append(h.latest, v)
	} else {
		h.latest[h.count%histogramWindow] = v
	}
	h.count++
}

// Count returns the number of all values.
func (h *Histogram) Count() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// Quantile returns the least of the latest values that a share q of them does
// not exceed; 0 without values.
func (h *Histogram) Quantile(q float64) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.latest) == 0 {
		return 0
	}
	if h.at != h.count {
		h.sorted = append(h.sorted[:0], h.latest...)
		slices.Sort(h.sorted)
		h.at = h.count
	}
	i := int(math.Ceil(q*float64(len(h.sorted)))) - 1
	return h.sorted[max(i, 0)]
}

// moments returns mean and standard deviation of the latest values.
func (h *Histogram) moments() (mean, deviation float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := float64(len(h.latest))
	if n == 0 {
		return 0, 0
	}
	for _, v := range h.latest {
		mean += v / n
	}
	for _, v := range h.latest {
		deviation += (v - mean) * (v - mean) / n
	}
	return mean, math.Sqrt(deviation)
}
