package state

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/dataflow"
)

// watermarkName names the value kept for each key group when there is state
// with an event-time TTL: the watermark of the last snapshot, 8 bytes,
// little-endian. Part of the format.
const watermarkName = "ttl-watermark"

// Advance tells handles with a TTL the time: processing time and watermark,
// in milliseconds, neither of which goes back by it. The operator calls it
// before user code runs, with the number of rows of a batch, or with 0 at a
// watermark or timer. It removes some of what has expired, about in
// proportion to rows and time.
func (k *Keyed) Advance(now, watermark int64, rows int) {
	k.timed = true
	k.now = max(k.now, now)
	if watermark < dataflow.TimeMax { // the end of input is no time
		k.watermark = max(k.watermark, watermark)
	}
	if len(k.expiries) == 0 {
		return
	}
	n := rows * sweepPerRow
	if k.now-k.swept >= sweepMillis {
		n, k.swept = max(n, sweepEntries), k.now
	}
	for _, e := range k.expiries {
		e.tick()
		if n > 0 {
			e.sweep(n)
		}
	}
}

// ReadAt makes k one whose handles only read what belongs to the handles of
// another Keyed: they neither make state young nor remove any. It is called
// instead of Advance, before handles are made.
func (k *Keyed) ReadAt(now, watermark int64) {
	k.reading, k.timed = true, true
	k.now = now
	if watermark < dataflow.TimeMax {
		k.watermark = watermark
	}
}

// HasTTL says whether a handle has a TTL: if none has, Advance need not be
// called.
func (k *Keyed) HasTTL() bool { return len(k.expiries) > 0 }

// NextSweep is the processing time at which Advance is to be called although
// there is no row; ok is false when it need not be.
func (k *Keyed) NextSweep() (at int64, ok bool) {
	for _, e := range k.expiries {
		if e.event || e.empty() {
			continue
		}
		due := k.swept + sweepMillis // before this, Advance does nothing
		if !e.running {
			due = max(due, e.due)
		}
		if !ok || due < at {
			at, ok = due, true
		}
	}
	return at, ok
}

// behind says that some key groups have seen a later watermark, before the
// restart or rescale, than there is now.
func (k *Keyed) behind() bool { return k.watermark < k.mostMark }

// watermarkOfKey is the watermark that counts for the current key.
func (k *Keyed) watermarkOfKey() int64 {
	if !k.behind() {
		return k.watermark
	}
	g := k.key.Group(k.backend.MaxParallelism()) - k.backend.KeyGroups().First
	return max(k.watermark, k.marks[g])
}

// openWatermarks reads how far the key groups were: what had expired stays
// expired.
func (k *Keyed) openWatermarks() error {
	if k.marks != nil {
		return nil
	}
	groups := k.backend.KeyGroups()
	k.marks = make([]int64, groups.Len())
	least := dataflow.TimeMax
	for i := range k.marks {
		k.marks[i] = dataflow.TimeMin
		g := groups.First + dataflow.KeyGroup(i)
		if v := k.backend.GroupValue(watermarkName, g); len(v) == 8 {
			k.marks[i] = int64(binary.LittleEndian.Uint64(v))
		} else if v != nil {
			return fmt.Errorf("watermark of key group %d has %d bytes, want 8", g, len(v))
		}
		k.mostMark = max(k.mostMark, k.marks[i])
		least = min(least, k.marks[i])
	}
	if least < dataflow.TimeMax {
		k.watermark = max(k.watermark, least)
		k.savedMark = least
	}
	return nil
}

// saveWatermark makes the next snapshot hold how far the key groups are.
func (k *Keyed) saveWatermark() {
	if k.marks == nil || k.watermark <= k.savedMark {
		return
	}
	var v [8]byte
	binary.LittleEndian.PutUint64(v[:], uint64(k.watermark))
	for i, m := range k.marks {
		if m < k.watermark {
			k.marks[i] = k.watermark
			k.backend.SetGroupValue(watermarkName, k.backend.KeyGroups().First+dataflow.KeyGroup(i), v[:])
		}
	}
	k.mostMark, k.savedMark = max(k.mostMark, k.watermark), k.watermark
}
