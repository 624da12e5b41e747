package barrier

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/leatstream/leat/dataflow"
)

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var a *Aligner
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				var n int
				d.ScanArgs(t, "channels", &n)
				a = New(n)
				return "ok\n"
			}
			return printActions(a.Step(scriptEvent(t, d)))
		})
	})
}

func scriptEvent(t *testing.T, d *datadriven.TestData) Event {
	var ev Event
	var id, now int
	if d.HasArg("ch") {
		d.ScanArgs(t, "ch", &ev.Channel)
	}
	if d.HasArg("id") {
		d.ScanArgs(t, "id", &id)
	}
	if d.HasArg("now") {
		d.ScanArgs(t, "now", &now)
	}
	ev.ID, ev.Now = dataflow.CheckpointID(id), time.Duration(now)*time.Millisecond
	kinds := map[string]EventKind{"barrier": EventBarrier, "end": EventEnd,
		"triggered": EventTriggered, "aborted": EventAborted, "voided": EventVoided, "reset": EventReset, "overtake": EventOvertake}
	kind, ok := kinds[d.Cmd]
	if !ok {
		t.Fatalf("unknown command %s", d.Cmd)
	}
	ev.Kind = kind
	return ev
}

func printActions(actions []Action) string {
	if len(actions) == 0 {
		return "(nothing)\n"
	}
	var b strings.Builder
	for _, x := range actions {
		switch x.Kind {
		case ActionBlock:
			fmt.Fprintf(&b, "block %d\n", x.Channel)
		case ActionUnblock:
			fmt.Fprintf(&b, "unblock %d\n", x.Channel)
		case ActionAligned:
			fmt.Fprintf(&b, "aligned id=%d after=%v\n", x.ID, x.Alignment)
		case ActionRecord:
			fmt.Fprintf(&b, "record %d\n", x.Channel)
		case ActionAbort:
			fmt.Fprintf(&b, "abort id=%d after=%v\n", x.ID, x.Alignment)
		}
	}
	return b.String()
}

// model is the dumb reference: it keeps everything that was ever delivered
// and derives the state anew after each event.
type model struct {
	delivered []map[dataflow.CheckpointID]bool
	ended     []bool
	settled   map[dataflow.CheckpointID]bool
	high      dataflow.CheckpointID // every id up to it is settled
	triggered dataflow.CheckpointID
}

func newModel(n int) *model {
	m := &model{ended: make([]bool, n), settled: map[dataflow.CheckpointID]bool{}}
	for range n {
		m.delivered = append(m.delivered, map[dataflow.CheckpointID]bool{})
	}
	return m
}

func (m *model) live(id dataflow.CheckpointID) bool { return id > m.high && !m.settled[id] }

func (m *model) current() dataflow.CheckpointID {
	var cur dataflow.CheckpointID
	for _, d := range m.delivered {
		for id := range d {
			if m.live(id) {
				cur = max(cur, id)
			}
		}
	}
	return cur
}

func (m *model) blocked(ch int) bool {
	cur := m.current()
	return cur != 0 && !m.ended[ch] && m.delivered[ch][cur]
}

// record returns the channels that a checkpoint overtaking now is still to
// come on.
func (m *model) record(id dataflow.CheckpointID) (channels []int) {
	if !m.live(id) || id < m.current() {
		return nil
	}
	for ch := range m.ended {
		if !m.ended[ch] && !m.delivered[ch][id] {
			channels = append(channels, ch)
		}
	}
	return channels
}

// step returns the ids aligned and aborted by the event.
func (m *model) step(ev Event) (aligned, aborted []dataflow.CheckpointID) {
	before := m.current()
	switch ev.Kind {
	case EventBarrier:
		if m.ended[ev.Channel] || !m.live(ev.ID) || ev.ID < before {
			return nil, nil
		}
		m.delivered[ev.Channel][ev.ID] = true
		if before != 0 && ev.ID > before {
			aborted = append(aborted, before)
			m.high = before
		}
	case EventEnd:
		m.ended[ev.Channel] = true
	case EventTriggered:
		m.triggered = max(m.triggered, ev.ID)
	case EventAborted:
		if ev.ID >= before && m.live(ev.ID) {
			m.settled[ev.ID] = true
			if ev.ID == before {
				aborted = append(aborted, before)
				m.high = max(m.high, before)
			}
		}
	case EventVoided:
		if before != 0 && before <= ev.ID {
			aborted = append(aborted, before)
		}
		m.high = max(m.high, ev.ID)
	case EventOvertake:
		if !m.live(ev.ID) || ev.ID < before {
			return nil, nil
		}
		if before != 0 && ev.ID > before {
			aborted = append(aborted, before)
		}
		m.high = ev.ID
		aligned = append(aligned, ev.ID)
	case EventReset:
		*m = *newModel(len(m.ended))
		return nil, nil
	}
	all := true
	for _, e := range m.ended {
		all = all && e
	}
	if cur := m.current(); cur != 0 && m.complete(cur) {
		m.high = cur
		aligned = append(aligned, cur)
	}
	if all && m.live(m.triggered) {
		m.high = m.triggered
		aligned = append(aligned, m.triggered)
	}
	return aligned, aborted
}

func (m *model) complete(id dataflow.CheckpointID) bool {
	for ch := range m.ended {
		if !m.ended[ch] && !m.delivered[ch][id] {
			return false
		}
	}
	return true
}

func eventOf(kind, ch, id byte, channels int) Event {
	ev := Event{ID: 1 + dataflow.CheckpointID(id%7), Channel: int(ch) % channels}
	switch k := kind % 32; {
	case k < 20:
		ev.Kind = EventBarrier
	case k < 22:
		ev.Kind = EventOvertake
	case k < 23:
		ev.Kind = EventAborted
	case k < 24:
		ev.Kind = EventVoided
	case k < 28:
		ev.Kind = EventTriggered
	case k < 31:
		ev.Kind = EventEnd
	default:
		ev.Kind = EventReset
	}
	return ev
}

func checkAgainstModel(t *testing.T, channels int, data []byte) {
	a, m := New(channels), newModel(channels)
	var now time.Duration
	base := dataflow.CheckpointID(0)
	for i := 0; i+3 < len(data); i += 4 {
		ev := eventOf(data[i], data[i+1], data[i+2], channels)
		now += time.Duration(data[i+3])
		base += dataflow.CheckpointID(data[i+3] % 2)
		ev.Now, ev.ID = now, ev.ID+base
		var aligned, aborted []dataflow.CheckpointID
		var record, wantRecord []int
		if ev.Kind == EventOvertake {
			wantRecord = m.record(ev.ID)
		}
		for _, x := range a.Step(ev) {
			if x.Alignment < 0 || x.Alignment > now {
				t.Fatalf("step %d: alignment of %v", i/4, x.Alignment)
			}
			switch x.Kind {
			case ActionAligned:
				aligned = append(aligned, x.ID)
			case ActionAbort:
				aborted = append(aborted, x.ID)
			case ActionRecord:
				if len(aligned) > 0 {
					t.Fatalf("step %d: channel %d is to be recorded after the snapshot", i/4, x.Channel)
				}
				record = append(record, x.Channel)
			case ActionBlock, ActionUnblock:
			}
		}
		if !slices.Equal(record, wantRecord) {
			t.Fatalf("step %d %+v: record %v, want %v", i/4, ev, record, wantRecord)
		}
		wantAligned, wantAborted := m.step(ev)
		if !slices.Equal(aligned, wantAligned) || !slices.Equal(aborted, wantAborted) {
			t.Fatalf("step %d %+v: aligned %v aborted %v, want %v and %v", i/4, ev, aligned, aborted, wantAligned, wantAborted)
		}
		for ch := range channels {
			if a.Blocked(ch) != m.blocked(ch) {
				t.Fatalf("step %d %+v: channel %d blocked %v, want %v", i/4, ev, ch, a.Blocked(ch), m.blocked(ch))
			}
		}
	}
}

func FuzzAgainstModel(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 20 {
		data := make([]byte, 8+16*n)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(uint8(n), data)
	}
	f.Fuzz(func(t *testing.T, channels uint8, data []byte) {
		checkAgainstModel(t, 1+int(channels%6), data[:min(len(data), 4000)])
	})
}

func TestRandomInterleavingsMatchTheModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 4*(10+r.IntN(60)))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		checkAgainstModel(t, 1+r.IntN(6), data)
	}
}

// element of a simulated channel: a row (id 0), a barrier, or the end.
type element struct {
	id  dataflow.CheckpointID
	end bool
}

// A task that reads only channels that are not blocked has, when told that a
// checkpoint is aligned, read of each channel exactly the rows before that
// checkpoint's barrier.
func TestSnapshotHoldsExactlyTheRowsBeforeTheBarriers(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		simulateTask(t, rand.New(rand.NewPCG(seed, 11)))
	}
}

func simulateTask(t *testing.T, r *rand.Rand) {
	channels, last := 1+r.IntN(5), dataflow.CheckpointID(1+r.IntN(6))
	queues := make([][]element, channels)
	before := make([]map[dataflow.CheckpointID]int, channels)
	for ch := range queues {
		queues[ch], before[ch] = randomChannel(r, last)
	}
	a, read := New(channels), make([]int, channels)
	var aligned dataflow.CheckpointID
	for {
		var ready []int
		for ch := range queues {
			if len(queues[ch]) > 0 && !a.Blocked(ch) {
				ready = append(ready, ch)
			}
		}
		if len(ready) == 0 {
			break
		}
		ch := ready[r.IntN(len(ready))]
		e := queues[ch][0]
		queues[ch] = queues[ch][1:]
		ev := Event{Kind: EventBarrier, Channel: ch, ID: e.id}
		switch {
		case e.end:
			ev.Kind = EventEnd
		case e.id == 0:
			read[ch]++
			continue
		}
		for _, x := range a.Step(ev) {
			if x.Kind != ActionAligned {
				continue
			}
			aligned = x.ID
			for c := range read {
				// A skipped barrier means that the task upstream gave the
				// checkpoint up: it never completes.
				if rows, taken := before[c][x.ID]; !taken {
					break
				} else if read[c] != rows {
					t.Fatalf("checkpoint %d holds %d rows of channel %d, want %d", x.ID, read[c], c, rows)
				}
			}
		}
	}
	for ch := range queues {
		if len(queues[ch]) > 0 {
			t.Fatalf("stuck: channel %d still holds %v while %d is aligned", ch, queues[ch], a.Aligning())
		}
	}
	if aligned > last {
		t.Fatalf("aligned %d, which was never sent", aligned)
	}
}

// randomChannel returns the elements of a channel and how many rows lie
// before each barrier. Some barriers are left out, as when a checkpoint is
// aborted upstream, but never the last; those have no entry.
func randomChannel(r *rand.Rand, last dataflow.CheckpointID) ([]element, map[dataflow.CheckpointID]int) {
	var q []element
	before, rows, ended := map[dataflow.CheckpointID]int{}, 0, false
	for id := dataflow.CheckpointID(1); id <= last; id++ {
		if !ended {
			for range r.IntN(4) {
				q = append(q, element{})
				rows++
			}
			if ended = r.IntN(8) == 0; ended {
				q = append(q, element{end: true})
			} else if id == last || r.IntN(5) > 0 {
				q = append(q, element{id: id})
			} else {
				continue
			}
		}
		before[id] = rows
	}
	if !ended {
		q = append(q, element{end: true})
	}
	return q, before
}

func TestStepDoesNotAllocate(t *testing.T) {
	a, id := New(4), dataflow.CheckpointID(0)
	if n := testing.AllocsPerRun(100, func() {
		id++
		for ch := range 4 {
			a.Step(Event{Kind: EventBarrier, Channel: ch, ID: id})
		}
	}); n > 0 {
		t.Fatalf("%v allocations for one alignment", n)
	}
}
