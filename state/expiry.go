package state

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/leatstream/leat/dataflow"
)

// unstamped is the stamp of a value whose age is not known, because it comes
// from state without a TTL or of another time. It counts from the next round.
const unstamped = math.MinInt64

const (
	// sweepPerRow is how many entries are looked at for each row of a batch: a
	// round over a table that grows by one entry a row ends before the table
	// has grown by a third.
	sweepPerRow = 4
	// sweepEntries is how many are looked at when sweepMillis have passed,
	// whatever the rows: some 30 microseconds.
	sweepEntries = 4096
	sweepMillis  = 10
	// roundsPerTTL bounds how often a round begins.
	roundsPerTTL = 4
)

// expiry is the TTL of one table.
type expiry struct {
	k       *Keyed
	ttl     TTL
	table   Sweeper
	len     func() int // of the table
	trim    Trim       // of a sweep: with cut, and noting oldest
	millis  int64      // TTL.After
	event   bool
	refresh bool // reads count as updates
	show    bool // what has expired may be returned
	// cut is the stamp at or before which an entry has expired, for all key
	// groups, as of the last Advance.
	cut int64
	// A round goes over all entries once; it began when its time was began.
	running bool
	began   int64
	oldest  int64 // least stamp that the round has left
	due     int64 // no round begins before this time
}

// stamping is what an expiry must know of a table's values.
type stamping uint8

const (
	oneStamp   stamping = iota // a stamp, then the value
	manyStamps                 // elements with a stamp each
)

// empty says that there is nothing that could expire.
func (e *expiry) empty() bool { return e.len() == 0 }

func newExpiry(k *Keyed, t Table, ttl TTL, form stamping) (*expiry, error) {
	sw, ok := t.(Sweeper)
	if !ok {
		return nil, fmt.Errorf("the backend %T does not remove what has expired: use another one, or no TTL", k.backend)
	}
	for _, e := range k.expiries {
		if e.table == sw && e.ttl != ttl {
			return nil, fmt.Errorf("another handle of that name has the TTL %+v, this one has %+v: use one", e.ttl, ttl)
		} else if e.table == sw {
			return e, nil
		}
	}
	if !k.timed {
		return nil, fmt.Errorf("this operator does not tell its state the time: state with a TTL is for process functions")
	}
	e := &expiry{
		k: k, ttl: ttl, table: sw, len: t.Len, millis: ttl.After.Milliseconds(), due: math.MinInt64,
		event: ttl.Time == EventTime, refresh: ttl.Update == OnReadAndWrite, show: ttl.Visibility == ReturnExpiredIfNotCleanedUp,
	}
	cut := trimOne
	if form == manyStamps {
		cut = trimMany
	}
	e.oldest = math.MaxInt64
	e.trim = func(val []byte) ([]byte, bool) { return cut(val, e.cut, e.time(), &e.oldest) }
	if k.reading {
		e.refresh = false
		e.tick()
		return e, nil
	}
	sw.OnSnapshot(func() Trim {
		k.saveWatermark()
		e.tick()
		at := e.cut
		return func(val []byte) ([]byte, bool) {
			var oldest int64
			return cut(val, at, unstamped, &oldest)
		}
	})
	k.expiries = append(k.expiries, e)
	if e.event && !k.reading {
		if err := k.openWatermarks(); err != nil {
			return nil, err
		}
	}
	e.tick()
	e.sweep(math.MaxInt) // what expired while the job was down
	return e, nil
}

// time is the one that ages are measured in.
func (e *expiry) time() int64 {
	if e.event {
		return e.k.watermark
	}
	return e.k.now
}

func (e *expiry) cutoff(time int64) int64 {
	if time == math.MinInt64 {
		return math.MinInt64
	}
	return dataflow.AddTime(time, -e.millis)
}

func (e *expiry) tick() { e.cut = e.cutoff(e.time()) }

// stamp is what is written now.
func (e *expiry) stamp() int64 {
	if !e.event {
		return e.k.now
	}
	return max(e.k.rowTime, e.k.watermarkOfKey())
}

// expired says whether an entry under the current key has expired.
func (e *expiry) expired(stamp int64) bool {
	if e.event && e.k.behind() {
		return stamp != unstamped && stamp <= e.cutoff(e.k.watermarkOfKey())
	}
	return stamp <= e.cut && stamp != unstamped
}

// hidden says whether an entry under the current key is not to be returned.
func (e *expiry) hidden(stamp int64) bool { return e != nil && !e.show && e.expired(stamp) }

// shows says whether something is left to return of a value under any key.
func (e *expiry) shows(val []byte) bool {
	_, keep := e.trim(val)
	return keep || e.show
}

// sweep goes on with a round for about n entries, or begins one that is due.
func (e *expiry) sweep(n int) {
	now := e.time()
	if now == math.MinInt64 {
		return
	}
	if !e.running {
		if now < e.due {
			return
		}
		e.running, e.began, e.oldest = true, now, math.MaxInt64
	}
	if !e.table.Sweep(n, e.trim) {
		return
	}
	e.running = false
	e.due = max(dataflow.AddTime(min(e.oldest, e.began), e.millis), dataflow.AddTime(e.began, max(1, e.millis/roundsPerTTL)))
}

func stampOf(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }

func putStamp(b []byte, stamp int64) { binary.LittleEndian.PutUint64(b, uint64(stamp)) }

func appendStamp(b []byte, stamp int64) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(stamp))
}

// trimOne is the Trim of values with one stamp.
func trimOne(val []byte, cut, restamp int64, oldest *int64) ([]byte, bool) {
	stamp := stampOf(val)
	if stamp == unstamped {
		if restamp == unstamped {
			return val, true
		}
		*oldest = min(*oldest, restamp)
		return append(appendStamp(make([]byte, 0, len(val)), restamp), val[stampBytes:]...), true
	}
	if stamp <= cut {
		return nil, false
	}
	*oldest = min(*oldest, stamp)
	return val, true
}

// trimMany is the Trim of lists. What is left is most often the end of the
// list, which needs no copy.
func trimMany(val []byte, cut, restamp int64, oldest *int64) ([]byte, bool) {
	var left []byte // of what precedes rest and is no part of val
	from, at := 0, 0
	for at < len(val) {
		stamp, _, size := element(val[at:])
		next := at + size
		switch {
		case stamp == unstamped && restamp != unstamped:
			left = append(left, val[from:at]...)
			left = append(appendStamp(left, restamp), val[at+stampBytes:next]...)
			from, stamp = next, restamp
		case stamp != unstamped && stamp <= cut:
			if at > from {
				left = append(left, val[from:at]...)
			}
			from = next
		}
		if stamp != unstamped && stamp > cut {
			*oldest = min(*oldest, stamp)
		}
		at = next
	}
	switch {
	case left == nil:
		left = val[from:]
	case from < len(val):
		left = append(left, val[from:]...)
	}
	return left, len(left) > 0
}

// element splits the first element of a list with stamps: its stamp, the form
// of its value, and its size with all.
func element(b []byte) (stamp int64, row []byte, size int) {
	n, w := binary.Uvarint(b[stampBytes:])
	from := stampBytes + w
	return stampOf(b), b[from : from+int(n)], from + int(n)
}

func appendElement(b []byte, stamp int64, row []byte) []byte {
	b = binary.AppendUvarint(appendStamp(b, stamp), uint64(len(row)))
	return append(b, row...)
}
