package main

import (
	"slices"
	"testing"
)

// Engine and loop come to the same results, on a small part of what is
// measured.
func TestSidesAgree(t *testing.T) {
	t.Parallel()
	for _, p := range patterns() {
		if p.loop == nil {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.keys, p.total, p.warm = min(p.keys, 1000), 1<<18, 1<<16
			engine, err := p.engine(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			loop := p.hand(false)
			if engine.Results == 0 || engine.Results != loop.Results || engine.Check != loop.Check {
				t.Errorf("the engine has %d results (check %d), the loop %d (%d)", engine.Results, engine.Check, loop.Results, loop.Check)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(slices.Clone(c.of)); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.of, got, c.want)
		}
	}
}
