package join_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/join"
	"github.com/leatstream/leat/operators/operatortest"
)

// left and right are the rows of the two inputs: one of them has a fixed
// size, the other not.
type left struct {
	Key, N int64
}

type right struct {
	Key  int64
	Name string
}

// pair is a result; what is missing is "-".
type pair struct {
	Left, Right string
	Time        int64
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func leftKey(l left) int64   { return l.Key }
func rightKey(r right) int64 { return r.Key }

func leftText(l *left) string {
	if l == nil {
		return "-"
	}
	return fmt.Sprintf("%d/%d", l.Key, l.N)
}

func rightText(r *right) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%d/%s", r.Key, r.Name)
}

func both(l *left, r *right) string { return leftText(l) + " " + rightText(r) }

var (
	leftInput  = operatortest.Input{Rows: must(columnar.TypeOf[left]()), Key: must(columnar.HasherOf(leftKey))}
	rightInput = operatortest.Input{Rows: must(columnar.TypeOf[right]()), Key: must(columnar.HasherOf(rightKey))}
	leftSide   = join.Side[int64, left]{Key: leftKey, Hasher: leftInput.Key, Codec: must(codec.Of[left]())}
	rightSide  = join.Side[int64, right]{Key: rightKey, Hasher: rightInput.Key, Codec: must(codec.Of[right]())}
)

func harness(t testing.TB, f operators.Factory, parallelism, batch, notReady int) *operatortest.Harness {
	return operatortest.New(t, operatortest.Config{
		Factory: f, Rows: leftInput.Rows, Key: leftInput.Key, Parallelism: parallelism, BatchRows: batch,
		NotReady: notReady, Sides: []string{join.SideLateLeft, join.SideLateRight},
	})
}

// event is a row of either input, or a watermark.
type event struct {
	left      *left
	right     *right
	time      int64
	watermark bool
}

// events makes rows out of order, some of them late, and watermarks.
func events(rng *rand.Rand, n int, keys, step int64) []event {
	var evs []event
	now, wm := int64(-5000), dataflow.TimeMin
	for i := range n {
		now += rng.Int64N(step)
		t := now - rng.Int64N(20*step)
		key := rng.Int64N(keys)
		switch {
		case rng.IntN(8) == 0:
			wm = max(wm, now-rng.Int64N(15*step))
			evs = append(evs, event{time: wm, watermark: true})
		case rng.IntN(2) == 0:
			evs = append(evs, event{left: &left{key, int64(i)}, time: t})
		default:
			evs = append(evs, event{right: &right{key, fmt.Sprint("r", i)}, time: t})
		}
	}
	return append(evs, event{time: dataflow.TimeMax, watermark: true})
}

// stamped is a row that has arrived in time.
type stamped struct {
	event
	matched bool
}

// reference joins by comparing every row with every other.
func reference(evs []event, c join.IntervalConfig[int64, left, right, string]) (out []pair, late int) {
	now := dataflow.TimeMin
	var ls, rs []*stamped
	for _, e := range evs {
		if e.watermark {
			if now = e.time; e.time < dataflow.TimeMax {
				now = e.time - c.Grace
			}
			continue
		}
		if e.time <= now {
			late++
			continue
		}
		s := &stamped{event: e}
		if e.left != nil {
			ls = append(ls, s)
		} else {
			rs = append(rs, s)
		}
	}
	for _, l := range ls {
		for _, r := range rs {
			if d := r.time - l.time; l.left.Key == r.right.Key && d >= c.Lower && d <= c.Upper {
				l.matched, r.matched = true, true
				out = append(out, pair{leftText(l.left), rightText(r.right), max(l.time, r.time)})
			}
		}
	}
	for _, l := range ls {
		if c.Kind.Left && !l.matched {
			out = append(out, pair{leftText(l.left), "-", l.time})
		}
	}
	for _, r := range rs {
		if c.Kind.Right && !r.matched {
			out = append(out, pair{"-", rightText(r.right), r.time})
		}
	}
	return sorted(out), late
}

func sorted(ps []pair) []pair {
	slices.SortFunc(ps, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.Left, b.Left), strings.Compare(a.Right, b.Right))
	})
	return ps
}

// collect returns the pairs that came out, in order.
func collect(h *operatortest.Harness) []pair {
	rows, times := operatortest.Rows[string](h, ""), operatortest.Times[string](h, "")
	out := make([]pair, len(rows))
	for i, r := range rows {
		l, r, _ := strings.Cut(r, " ")
		out[i] = pair{l, r, times[i]}
	}
	return out
}

// feed drives the harness by events, rows of one input in one batch, with
// snapshots and restores at other parallelisms between them.
func feed(h *operatortest.Harness, rng *rand.Rand, evs []event, restores bool) {
	snap := 0
	for i := 0; i < len(evs); {
		if evs[i].watermark {
			h.Watermark(evs[i].time)
			i++
			continue
		}
		var ls []left
		var rs []right
		var times []int64
		isLeft := evs[i].left != nil
		for ; i < len(evs) && !evs[i].watermark && (evs[i].left != nil) == isLeft; i++ {
			times = append(times, evs[i].time)
			if isLeft {
				ls = append(ls, *evs[i].left)
			} else {
				rs = append(rs, *evs[i].right)
			}
		}
		if isLeft {
			h.FeedInput(0, leftInput, columnar.NewBatch(ls, times))
		} else {
			h.FeedInput(1, rightInput, columnar.NewBatch(rs, times))
		}
		if restores && rng.IntN(20) == 0 {
			snap++
			cp := h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(snap)})
			h.Restore(cp, 1+rng.IntN(4))
		}
	}
}

func intervalConfig(kind join.Kind, lower, upper, grace int64) join.IntervalConfig[int64, left, right, string] {
	return join.IntervalConfig[int64, left, right, string]{
		Left: leftSide, Right: rightSide, KeyCodec: must(codec.Of[int64]()),
		Lower: lower, Upper: upper, Grace: grace, Kind: kind,
		Match: join.Match[left, right, string]{Func: both, Retains: kind.Left || kind.Right},
	}
}

// TestIntervalEqualsComparingAll runs random rows, out of order and late, in
// many shapes.
func TestIntervalEqualsComparingAll(t *testing.T) {
	t.Parallel()
	kinds := []join.Kind{{}, {Left: true}, {Right: true}, {Left: true, Right: true}}
	bounds := [][2]int64{{0, 0}, {-40, 40}, {0, 300}, {-300, -100}, {50, 60}, {-2000, 2000}, {-100, 0}}
	lates := 0
	for seed := range uint64(56) {
		rng := rand.New(rand.NewPCG(seed, 1))
		kind, b := kinds[seed%4], bounds[seed%7]
		grace := []int64{0, 0, 150}[rng.IntN(3)]
		c := intervalConfig(kind, b[0], b[1], grace)
		evs := events(rng, 600, 1+rng.Int64N(5), 1+rng.Int64N(20))
		want, late := reference(evs, c)
		h := harness(t, join.Interval(c), 1+rng.IntN(3), []int{1, 3, 1024}[rng.IntN(3)], rng.IntN(2)*3)
		feed(h, rng, evs, seed%3 > 0)
		got := collect(h)
		name := fmt.Sprintf("seed %d: %+v %v grace %d", seed, kind, b, grace)
		differ(t, name, sorted(got), want)
		if n := len(operatortest.Rows[left](h, join.SideLateLeft)) + len(operatortest.Rows[right](h, join.SideLateRight)); n != late {
			t.Errorf("%s: %d late rows, want %d", name, n, late)
		}
		lates += late
	}
	if lates == 0 {
		t.Error("no row was late")
	}
}

func differ(t *testing.T, name string, got, want []pair) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s: %d results, want %d; from %d on\n%v\nwant\n%v", name, len(got), len(want), i,
				got[min(i, len(got)):min(i+4, len(got))], want[min(i, len(want)):min(i+4, len(want))])
		}
	}
}

// TestIntervalStateFollowsTheWatermark feeds rows for a long time: what can
// have no match any more is gone.
func TestIntervalStateFollowsTheWatermark(t *testing.T) {
	t.Parallel()
	for _, kind := range []join.Kind{{}, {Left: true, Right: true}} {
		h := harness(t, join.Interval(intervalConfig(kind, -1000, 1000, 0)), 1, 0, 0)
		var most int64
		for at := int64(0); at < 100_000; at += 100 {
			h.FeedInput(0, leftInput, columnar.NewBatch([]left{{at % 700, at}}, []int64{at}))
			h.FeedInput(1, rightInput, columnar.NewBatch([]right{{at % 900, "r"}}, []int64{at}))
			h.Watermark(at)
			h.Take()
			if at == 10_000 {
				most = h.Subs[0].State.Bytes()
			}
		}
		if n := h.Subs[0].State.Bytes(); n > 2*most {
			t.Errorf("%+v: %d bytes of state after ten times the time that took %d", kind, n, most)
		}
		h.Watermark(dataflow.TimeMax)
		if n := h.Subs[0].State.Bytes(); n > most/2 {
			t.Errorf("%+v: %d bytes of state are left at the end, of %d", kind, n, most)
		}
	}
}

// TestIntervalOrder: the results of a row come by the other rows' time.
func TestIntervalOrder(t *testing.T) {
	t.Parallel()
	h := harness(t, join.Interval(intervalConfig(join.Kind{}, -1000, 1000, 0)), 1, 0, 0)
	h.FeedInput(0, leftInput, columnar.NewBatch([]left{{1, 30}, {1, 10}, {1, 31}, {1, 20}}, []int64{30, 10, 30, 20}))
	h.FeedInput(1, rightInput, columnar.NewBatch([]right{{1, "r"}}, []int64{15}))
	want := []pair{{"1/10", "1/r", 15}, {"1/20", "1/r", 20}, {"1/30", "1/r", 30}, {"1/31", "1/r", 30}}
	if got := collect(h); !slices.Equal(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
}

// TestIntervalNeedsTimes: a row without time is an error that says so.
func TestIntervalNeedsTimes(t *testing.T) {
	t.Parallel()
	h := harness(t, join.Interval(intervalConfig(join.Kind{}, 0, 1, 0)), 1, 0, 0)
	err := h.Subs[0].Operator.Process(1, columnar.NewBatch([]right{{1, "r"}}, nil))
	if err == nil || !strings.Contains(err.Error(), "right row without event time") {
		t.Errorf("error %v", err)
	}
	if got := h.Subs[0].Operator.(operators.Positioner).Position(); !strings.HasSuffix(got, ", event time none") {
		t.Errorf("position %q", got)
	}
}

// TestIntervalDelay: what comes out is never behind the watermark that follows.
func TestIntervalDelay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c := intervalConfig(join.Kind{Left: seed%2 == 0, Right: seed%3 == 0}, -200, 100, int64(seed%4)*50)
		h := harness(t, join.Interval(c), 1, 0, 0)
		delay := h.Subs[0].Operator.(operators.WatermarkDelayer).WatermarkDelay()
		told := dataflow.TimeMin
		for _, e := range events(rng, 500, 3, 10) {
			feed(h, rng, []event{e}, false)
			for _, p := range collect(h) {
				if p.Time <= told {
					t.Fatalf("seed %d: result %v comes after the watermark %d", seed, p, told)
				}
			}
			h.Take()
			if e.watermark && e.time < dataflow.TimeMax {
				told = dataflow.AddTime(e.time, -delay)
			}
		}
	}
}
