package window

import (
	"time"

	"github.com/leatstream/leat/dataflow"
)

// zoneSpanMillis bounds the years in which zones are asked: beyond, their
// rules are guesses, and Go's calendar has an end. There UTC is cut.
const zoneSpanMillis = 250_000 * 365 * 24 * 3600 * 1000

// hoursFromUTCMax is more than any zone is away from UTC.
const hoursFromUTCMax = 26 * time.Hour

// assignInZone cuts the clock on the wall: windows begin at multiples of Size
// (plus Offset) of it, as instants the first at which it shows that much.
// Where it is put back, a window so spans all that it shows twice.
func (a Tumbling) assignInZone(t int64) Window {
	if t <= -zoneSpanMillis || t >= zoneSpanMillis {
		return Tumbling{Size: a.Size, Offset: a.Offset}.Assign(t)
	}
	_, away := time.UnixMilli(t).In(a.Zone).Zone()
	wall := Tumbling{Size: a.Size, Offset: a.Offset}.Assign(t + int64(away)*1000)
	w := Window{start: a.instant(wall.start), end: a.instant(wall.end)}
	for w.end <= t || w.end <= w.start { // t is in the second of two like hours
		wall = Window{start: wall.end, end: dataflow.AddTime(wall.end, a.Size)}
		w = Window{start: w.end, end: a.instant(wall.end)}
	}
	return w
}

// instant returns the first instant at which the clock on the wall shows at
// least wall, in milliseconds as if it were UTC.
func (a Tumbling) instant(wall int64) int64 {
	at := time.UnixMilli(wall).Add(-hoursFromUTCMax).In(a.Zone)
	for {
		_, away := at.Zone()
		_, end := at.ZoneBounds()
		found := max(wall-int64(away)*1000, at.UnixMilli())
		if end.IsZero() || found < end.UnixMilli() {
			return found
		}
		at = end
	}
}
