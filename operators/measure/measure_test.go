package measure_test

import (
	"math"
	"testing"
	"time"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators/measure"
	"github.com/leatstream/leat/operators/operatortest"
)

func TestMeterForgetsAfterAMinute(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.UnixMilli(0))
	metrics := operatortest.NewMetrics()
	m := measure.NewMeter(metrics, c, "rate")
	read := func() float64 { v, _ := metrics.Read("rate"); return v }
	m.Mark(30)
	c.Advance(10 * time.Second)
	if got := read(); got != 3 {
		t.Errorf("rate %v, want 3", got)
	}
	for range 120 {
		c.Advance(time.Second)
		m.Mark(5)
		read()
	}
	if got := read(); math.Abs(got-5) > 0.1 {
		t.Errorf("rate %v, want 5: what was before the last minute still counts", got)
	}
	if m.Count() != 630 {
		t.Errorf("count %d", m.Count())
	}
}

func TestHistogramTellsOfTheLatest(t *testing.T) {
	t.Parallel()
	metrics := operatortest.NewMetrics()
	h := measure.NewHistogram(metrics, "h")
	for range 500 {
		h.Update(1e9)
	}
	for i := range 1024 {
		h.Update(float64(i + 1))
	}
	for name, want := range map[string]float64{
		"h_count": 1524, "h_min": 1, "h_max": 1024, "h_median": 512, "h_p75": 768, "h_p99": 1014, "h_p999": 1023, "h_mean": 512.5,
	} {
		if got, ok := metrics.Read(name); !ok || math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got, _ := metrics.Read("h_stddev"); math.Abs(got-295.6) > 0.1 {
		t.Errorf("h_stddev is %v", got)
	}
}

func TestAccumulators(t *testing.T) {
	t.Parallel()
	metrics := operatortest.NewMetrics()
	measure.NewIntCounter(metrics, "n").Add(3)
	sum, most, least := measure.NewFloatCounter(metrics, "s"), measure.NewMaximum(metrics, "x"), measure.NewMinimum(metrics, "i")
	for _, v := range []float64{2, -1, 7.5} {
		sum.Add(v)
		most.Add(v)
		least.Add(v)
	}
	if n := metrics.Counter("accumulator.LongCounter.n").Value(); n != 3 {
		t.Errorf("n is %d", n)
	}
	for name, want := range map[string]float64{"DoubleCounter.s": 8.5, "DoubleMaximum.x": 7.5, "DoubleMinimum.i": -1} {
		if got, ok := metrics.Read("accumulator." + name); !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
