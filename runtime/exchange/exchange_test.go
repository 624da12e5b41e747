package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type row struct {
	Key  string
	From int64
	Seq  int64
}

func rowType(t testing.TB) columnar.RowType {
	t.Helper()
	rt, err := columnar.TypeOf[row]()
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func rowKey(t testing.TB) columnar.KeyHasher {
	t.Helper()
	k, err := columnar.HasherOf(func(r row) string { return r.Key })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// recorder is a channel that keeps what it is sent.
type recorder struct {
	elements []exchange.Element
	full     bool
}

func (r *recorder) Send(el exchange.Element) int { r.elements = append(r.elements, el); return 0 }
func (r *recorder) Ready() bool                  { return !r.full }

func (r *recorder) rows() (out []row) {
	for _, el := range r.elements {
		if el.Kind == exchange.KindBatch {
			out = append(out, columnar.Rows[row](el.Batch)...)
		}
	}
	return out
}

func output(t testing.TB, p graph.Partitioning, from, to int) (*exchange.Output, []*recorder) {
	t.Helper()
	recs := make([]*recorder, len(graph.ChannelTargets(p, from, 3, to)))
	targets := make([]exchange.Sender, len(recs))
	for i := range recs {
		recs[i] = &recorder{}
		targets[i] = recs[i]
	}
	o, err := exchange.NewOutput(exchange.OutputConfig{
		Edge: &graph.Edge{
			Partitioning: p, Type: rowType(t), Key: rowKey(t),
			Custom: func(rows any, i, n int) int { return int(rows.([]row)[i].Seq) % n },
		},
		MaxParallelism: 128, ToParallelism: to, From: from, Targets: targets,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o, recs
}

// Whatever the partitioning and the cuts of the batches: each row arrives
// once on the channel that owns it (on each for broadcast), in order, with its
// time, before the control element that follows it, in batches within bounds.
func TestOutputKeepsRows(t *testing.T) {
	t.Parallel()
	kinds := []graph.Partitioning{graph.Forward, graph.Hash, graph.Rebalance, graph.Rescale, graph.Broadcast, graph.Global, graph.Custom}
	for _, p := range kinds {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(8) {
				outputRun(t, p, rand.New(rand.NewPCG(seed, 1)))
			}
		})
	}
}

func outputRun(t *testing.T, p graph.Partitioning, r *rand.Rand) {
	t.Helper()
	to := 1 + r.IntN(5)
	if p == graph.Forward {
		to = 3
	}
	o, recs := output(t, p, r.IntN(3), to)
	seq := int64(0)
	var cuts []int64 // rows before each control element
	for range 40 {
		n := r.IntN([]int{3, 300, 5000}[r.IntN(3)])
		rows, times := make([]row, n), make([]int64, n)
		for i := range rows {
			rows[i], times[i] = row{Key: fmt.Sprint(r.IntN(50)), Seq: seq}, seq*10
			seq++
		}
		if err := o.Write(columnar.NewBatch(rows, times)); err != nil {
			t.Fatal(err)
		}
		switch r.IntN(4) {
		case 0:
			o.Flush()
		case 1:
			o.Control(exchange.Element{Kind: exchange.KindWatermark, Time: seq})
			cuts = append(cuts, seq)
		}
	}
	o.Control(exchange.Element{Kind: exchange.KindEnd})
	if o.Buffered() {
		t.Error("rows are left in the builders after the end")
	}
	checkOutput(t, p, recs, seq, cuts)
}

func checkOutput(t *testing.T, p graph.Partitioning, recs []*recorder, total int64, cuts []int64) {
	t.Helper()
	seen := make(map[int64]int)
	owner := make(map[string]int)
	for c, rec := range recs {
		last := int64(-1)
		marks := 0
		for _, el := range rec.elements {
			switch el.Kind {
			case exchange.KindBatch:
				rows := columnar.Rows[row](el.Batch)
				if len(rows) == 0 || len(rows) > 5000 {
					t.Errorf("%s: batch of %d rows", p, len(rows))
				}
				for i, x := range rows {
					if x.Seq <= last || el.Batch.Time(i) != x.Seq*10 {
						t.Fatalf("%s: row %d after %d with time %d", p, x.Seq, last, el.Batch.Time(i))
					}
					if marks > 0 && x.Seq < cuts[marks-1] {
						t.Fatalf("%s: row %d after the watermark %d", p, x.Seq, cuts[marks-1])
					}
					last = x.Seq
					seen[x.Seq]++
					if o, ok := owner[x.Key]; ok && o != c && p == graph.Hash {
						t.Fatalf("key %s on channels %d and %d", x.Key, o, c)
					}
					owner[x.Key] = c
				}
			case exchange.KindWatermark:
				if el.Time != cuts[marks] {
					t.Fatalf("%s: watermark %d, want %d", p, el.Time, cuts[marks])
				}
				marks++
			}
		}
		if marks != len(cuts) || rec.elements[len(rec.elements)-1].Kind != exchange.KindEnd {
			t.Errorf("%s: channel %d has %d watermarks and ends with %s", p, c, marks, rec.elements[len(rec.elements)-1].Kind)
		}
	}
	want := 1
	if p == graph.Broadcast {
		want = len(recs)
	}
	for s := range total {
		if seen[s] != want {
			t.Fatalf("%s: row %d arrived %d times, want %d", p, s, seen[s], want)
		}
	}
}

// Hash puts each key where its key group's owner is.
func TestHashGoesToTheOwner(t *testing.T) {
	t.Parallel()
	o, recs := output(t, graph.Hash, 0, 7)
	rows := make([]row, 4000)
	for i := range rows {
		rows[i].Key = fmt.Sprint(i)
	}
	hashes := rowKey(t).HashRows(nil, rows)
	want := make(map[string]int)
	for i, h := range hashes {
		want[rows[i].Key] = dataflow.SubtaskOf(dataflow.KeyGroupOf(h, 128), 128, 7)
	}
	if err := o.Write(columnar.NewBatch(rows, nil)); err != nil {
		t.Fatal(err)
	}
	o.Flush()
	for c, rec := range recs {
		for _, x := range rec.rows() {
			if want[x.Key] != c {
				t.Fatalf("key %s went to %d, its group is owned by %d", x.Key, c, want[x.Key])
			}
		}
	}
}

func TestRebalanceSpreads(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, columnar.BatchRowsMax} {
		o, recs := output(t, graph.Rebalance, 1, 4)
		for range 400 {
			if err := o.Write(columnar.NewBatch(make([]row, size), nil)); err != nil {
				t.Fatal(err)
			}
			o.Flush()
		}
		for c, rec := range recs {
			if n := len(rec.rows()); n != 100*size {
				t.Errorf("batches of %d: channel %d got %d rows, want %d", size, c, n, 100*size)
			}
		}
	}
}

func TestCustomOutOfRange(t *testing.T) {
	t.Parallel()
	o, err := exchange.NewOutput(exchange.OutputConfig{
		Edge:          &graph.Edge{Partitioning: graph.Custom, Type: rowType(t), Custom: func(any, int, int) int { return 2 }},
		ToParallelism: 2, Targets: []exchange.Sender{&recorder{}, &recorder{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Write(columnar.NewBatch(make([]row, 1), nil)); err == nil {
		t.Error("subtask 2 of 2 was accepted")
	}
}

func TestWrongEdgesAreRefused(t *testing.T) {
	t.Parallel()
	one := []exchange.Sender{&recorder{}}
	for name, cfg := range map[string]exchange.OutputConfig{
		"no type":      {Edge: &graph.Edge{Partitioning: graph.Forward}, Targets: one},
		"no key":       {Edge: &graph.Edge{Partitioning: graph.Hash, Type: rowType(t)}, Targets: one},
		"no function":  {Edge: &graph.Edge{Partitioning: graph.Custom, Type: rowType(t)}, Targets: one},
		"no channel":   {Edge: &graph.Edge{Partitioning: graph.Forward, Type: rowType(t)}},
		"partitioning": {Edge: &graph.Edge{Partitioning: "other", Type: rowType(t)}, Targets: one},
	} {
		if _, err := exchange.NewOutput(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Shared batches are never changed by an output, and broadcast marks what it
// hands to several.
func TestBroadcastShares(t *testing.T) {
	t.Parallel()
	o, recs := output(t, graph.Broadcast, 0, 3)
	b := columnar.NewBatch(make([]row, columnar.BatchRowsMax), nil)
	if err := o.Write(b); err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if el := rec.elements[0]; el.Batch != b || !el.Batch.Shared {
			t.Error("the batch was copied or not marked")
		}
	}
}

func TestReadyAsksEachChannel(t *testing.T) {
	t.Parallel()
	o, recs := output(t, graph.Rebalance, 0, 3)
	if !o.Ready() {
		t.Error("not ready at the start")
	}
	recs[1].full = true
	if o.Ready() {
		t.Error("ready although a channel is full")
	}
}

// Producers and a consumer on goroutines of their own: each channel keeps its
// order, nothing is lost or doubled, no wake-up is missed, and what lies in
// the channels is bounded by the limit and one step.
func TestGateUnderLoad(t *testing.T) {
	t.Parallel()
	const producers, each = 70, 300 // more than one word of bits
	box := mailbox.New()
	var specs []exchange.ChannelSpec
	for f := range producers {
		specs = append(specs, exchange.ChannelSpec{ID: exchange.ChannelID{From: f}, Type: rowType(t)})
	}
	g := exchange.NewGate(specs, box.Wake)
	var wg sync.WaitGroup
	for f := range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, own := g.Channel(f), mailbox.New()
			c.SetProducer(own.Wake)
			for i := range each {
				for !c.Ready() {
					own.Arm()
					if !c.Ready() {
						<-own.C()
					}
				}
				c.Send(exchange.Element{Kind: exchange.KindWatermark, Time: int64(i)})
			}
			c.Send(exchange.Element{Kind: exchange.KindEnd})
		}()
	}
	next := make([]int64, producers)
	for open := producers; open > 0; {
		i, el, ok, err := g.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			box.Arm()
			if i, el, ok, err = g.Next(); !ok && err == nil {
				<-box.C()
				continue
			}
		}
		switch el.Kind {
		case exchange.KindEnd:
			if next[i] != each {
				t.Errorf("channel %d ended after %d elements", i, next[i])
			}
			open--
		default:
			if el.Time != next[i] {
				t.Fatalf("channel %d: element %d, want %d", i, el.Time, next[i])
			}
			next[i]++
		}
	}
	wg.Wait()
}

// A producer that waits for an answer before it sends again pushes just when
// the consumer finds the channel empty: no element may be overlooked then.
func TestGateOverlooksNothing(t *testing.T) {
	t.Parallel()
	const rounds = 50_000
	box := mailbox.New()
	g := exchange.NewGate([]exchange.ChannelSpec{{Type: rowType(t)}}, box.Wake)
	var answered atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range int64(rounds) {
			g.Channel(0).Send(exchange.Element{Kind: exchange.KindWatermark, Time: i})
			for answered.Load() <= i {
				runtime.Gosched()
			}
		}
	}()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for answered.Load() < rounds {
		if _, _, ok, _ := g.Next(); ok {
			answered.Add(1)
			continue
		}
		box.Arm()
		if _, _, ok, _ := g.Next(); ok {
			answered.Add(1)
			continue
		}
		select {
		case <-box.C():
		case <-timeout.C:
			answered.Store(rounds)
			t.Error("an element was overlooked")
		}
	}
	<-done
}

// A gate goes round its channels, skips blocked ones and, for a task that
// cannot take rows, those that begin with rows.
func TestGateChoice(t *testing.T) {
	t.Parallel()
	specs := make([]exchange.ChannelSpec, 3)
	for i := range specs {
		specs[i] = exchange.ChannelSpec{ID: exchange.ChannelID{From: i}, Type: rowType(t)}
	}
	g := exchange.NewGate(specs, func() {})
	batch := exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch(make([]row, 1), nil)}
	for i := range specs {
		g.Channel(i).Send(batch)
		g.Channel(i).Send(exchange.Element{Kind: exchange.KindWatermark, Time: int64(i)})
	}
	g.Block(1)
	expect := func(next func() (int, exchange.Element, bool, error), channel int, kind exchange.Kind) {
		t.Helper()
		c, el, ok, err := next()
		if !ok || err != nil || c != channel || el.Kind != kind {
			t.Fatalf("got %s of channel %d (%v, %v), want %s of %d", el.Kind, c, ok, err, kind, channel)
		}
	}
	if _, _, ok, _ := g.NextControl(); ok {
		t.Fatal("control before rows")
	}
	expect(g.Next, 0, exchange.KindBatch)
	expect(g.Next, 2, exchange.KindBatch)
	expect(g.NextControl, 0, exchange.KindWatermark)
	expect(g.Next, 2, exchange.KindWatermark)
	if _, _, ok, _ := g.Next(); ok {
		t.Fatal("a blocked channel was read")
	}
	g.Unblock(1)
	expect(g.Next, 1, exchange.KindBatch)
	g.Fail(fmt.Errorf("broken"))
	if _, _, _, err := g.Next(); err == nil {
		t.Fatal("no error of a broken gate")
	}
}

// Bytes that are no batch are an error that names the channel.
func TestGateRefusesDamage(t *testing.T) {
	t.Parallel()
	g := exchange.NewGate([]exchange.ChannelSpec{{Type: rowType(t)}}, func() {})
	g.Channel(0).Send(exchange.Element{Kind: exchange.KindBatch, Bytes: []byte{0xff, 0xfe, 0xfd}})
	if _, _, ok, err := g.Next(); ok || err == nil {
		t.Fatalf("ok %v, err %v", ok, err)
	}
}

// For any sizes of batches the accounts of both ends agree, the bytes under
// way stay within the bound, and a sender that waits is always granted.
func TestCreditsBoundAndNeverStop(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		window := 1 + r.IntN(1000)
		largest := 1 + r.IntN(3*window)
		l, g := exchange.NewLedger(window), exchange.NewGranter(window)
		var way []int // sent, not consumed
		inWay := 0
		for range 2000 {
			n := 1 + r.IntN(largest)
			if l.Covers(n) && r.IntN(3) > 0 {
				l.Spend(n)
				way = append(way, n)
				inWay += n
				if bound := max(window, window/2+largest); inWay > bound {
					t.Fatalf("seed %d: %d bytes under way, window %d, largest batch %d", seed, inWay, window, largest)
				}
				continue
			}
			if len(way) == 0 {
				if !l.Covers(n) {
					t.Fatalf("seed %d: nothing is under way and a batch of %d is not covered (window %d)", seed, n, window)
				}
				continue
			}
			if grant := g.Consumed(way[0]); grant > 0 {
				if err := l.Grant(grant); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			inWay -= way[0]
			way = way[1:]
		}
	}
	l := exchange.NewLedger(10)
	if l.Grant(1) == nil {
		t.Error("a grant beyond the window was booked")
	}
}
