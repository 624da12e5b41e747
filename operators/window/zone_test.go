package window_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/leatstream/leat/operators/window"
)

// TestZonesTile goes through years of zones with half hours, changes at
// midnight and changes of half an hour: windows follow each other without gap
// or overlap, hold the times they are given, and begin when the clock on the
// wall says so.
func TestZonesTile(t *testing.T) {
	t.Parallel()
	const hour = int64(3_600_000)
	for _, zone := range []string{
		"UTC", "Asia/Singapore", "Asia/Kathmandu", "America/Los_Angeles", "Australia/Lord_Howe",
		"America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Europe/Berlin",
	} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{hour / 2, hour, 4 * hour, 24 * hour, 7 * 24 * hour} {
			a := window.Tumbling{Size: size, Zone: loc}
			t.Run(fmt.Sprintf("%s/%dm", zone, size/60_000), func(t *testing.T) {
				t.Parallel()
				tile(t, a, loc)
			})
		}
	}
}

func tile(t *testing.T, a window.Tumbling, loc *time.Location) {
	rng := rand.New(rand.NewPCG(uint64(a.Size), 3))
	for range 60 {
		at := time.Date(1965+rng.IntN(80), 1, rng.IntN(366), 0, 0, 0, 0, time.UTC).UnixMilli()
		w := a.Assign(at)
		for range 60 {
			for _, in := range []int64{w.StartMillis(), w.EndMillis() - 1, w.StartMillis() + rng.Int64N(w.EndMillis()-w.StartMillis())} {
				if got := a.Assign(in); got != w {
					t.Fatalf("%d is in %v to %v, but its window is %v to %v", in, w.Start(), w.End(), got.Start(), got.End())
				}
			}
			next := a.Assign(w.EndMillis())
			if next.StartMillis() != w.EndMillis() {
				t.Fatalf("after %v to %v comes %v", w.Start(), w.End(), next.Start())
			}
			w = next
		}
	}
}

// TestDaysOfChanges knows the days on which clocks changed.
func TestDaysOfChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, day string
		hours     float64
	}{
		{"America/Los_Angeles", "2025-03-09", 23},
		{"America/Los_Angeles", "2025-11-02", 25},
		{"Europe/Berlin", "2025-03-30", 23},
		{"Australia/Lord_Howe", "2025-10-05", 23.5},
		{"America/Sao_Paulo", "2018-11-04", 23}, // at midnight
		{"Asia/Kathmandu", "2025-03-30", 24},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		noon, err := time.ParseInLocation("2006-01-02 15", c.day+" 12", loc)
		if err != nil {
			t.Fatal(err)
		}
		w := window.Tumbling{Size: 24 * 3_600_000, Zone: loc}.Assign(noon.UnixMilli())
		if got := w.End().Sub(w.Start()).Hours(); got != c.hours {
			t.Errorf("%s in %s has %v hours, want %v", c.day, c.zone, got, c.hours)
		}
		if got := w.Start().In(loc).Format("2006-01-02"); got != c.day {
			t.Errorf("the day of %s in %s begins on %s", c.day, c.zone, got)
		}
	}
	spring := time.Date(2025, 3, 9, 8, 30, 0, 0, time.UTC) // 00:30 in Los Angeles
	loc, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	w := window.Tumbling{Size: 4 * 3_600_000, Zone: loc}.Assign(spring.UnixMilli())
	if got := w.End().Sub(w.Start()).Hours(); got != 3 {
		t.Errorf("four hours of a night in spring are %v hours", got)
	}
}
