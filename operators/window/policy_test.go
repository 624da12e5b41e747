package window_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
	"github.com/leatstream/leat/state"
)

// picky refuses windows with an odd sum, after it has emitted and written.
type picky struct {
	fired *state.Value[int64] // of the key
	seen  *state.Value[int64] // of the window
}

func (p *picky) Open(ctx *window.Context[string, row]) (err error) {
	if p.fired, err = state.NewValue[int64](ctx.State(), "fired"); err != nil {
		return err
	}
	p.seen, err = state.NewValue[int64](ctx.WindowState(), "seen")
	return err
}

func (p *picky) Fire(ctx *window.Context[string, row], rows *[]sale) error {
	n, _ := p.fired.Get()
	p.fired.Set(n + 1)
	m, _ := p.seen.Get()
	p.seen.Set(m + 1)
	var sum int64
	for _, s := range *rows {
		sum += s.Amount
		ctx.Emit(row{ctx.Key(), ctx.Window().StartMillis(), n + 1, m + 1, s.Amount})
	}
	if sum%2 != 0 {
		return fmt.Errorf("odd sum %d", sum)
	}
	return nil
}

func (p *picky) Clear(*window.Context[string, row]) error { return nil }

// refusing is the operator of picky, over windows of 50 that take rows for as
// long again.
func refusing() operators.Factory {
	return window.Single(window.SingleConfig[string, sale, []sale, row]{
		Key: keyOf, Hasher: must(columnar.HasherOf(keyOf)), KeyCodec: must(codec.Of[string]()),
		Assigner: window.Aligned[sale](window.Tumbling{Size: 50}, nil), Lateness: 50,
		Trigger:  window.AnyRow[sale](window.ByEventTime{}),
		Fold:     window.Fold[sale, []sale]{Add: func(acc *[]sale, s sale) { *acc = append(*acc, s) }},
		Rows:     must(codec.Of[sale]()),
		Function: func() window.Function[string, []sale, row] { return &picky{} },
	})
}

// TestErrorPolicies: a window that is refused leaves nothing behind, neither
// rows nor state, and is a dead letter with its rows; it is asked again with
// its next late row. By default the attempt fails.
func TestErrorPolicies(t *testing.T) {
	t.Parallel()
	for _, p := range []operators.ErrorPolicy{operators.SkipRecord, operators.ToDeadLetters} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprintf("%s/seed=%d", p, seed), func(t *testing.T) {
				t.Parallel()
				refuseRandomly(t, p, seed)
			})
		}
	}
}

// pickyRef tells what picky should have done.
type pickyRef struct {
	rows    map[[2]any][]sale // by key and start
	fired   map[string]int64
	seen    map[[2]any]int64
	shown   []row
	letters []string
}

func (r *pickyRef) fire(key string, start int64) {
	id := [2]any{key, start}
	var sum int64
	for _, s := range r.rows[id] {
		sum += s.Amount
	}
	if sum%2 != 0 {
		r.letters = append(r.letters, fmt.Sprintf("%s %d odd sum %d %s", key, start+49, sum, must(json.Marshal(r.rows[id]))))
		return
	}
	r.fired[key]++
	r.seen[id]++
	for _, s := range r.rows[id] {
		r.shown = append(r.shown, row{key, start, r.fired[key], r.seen[id], s.Amount})
	}
}

func refuseRandomly(t *testing.T, p operators.ErrorPolicy, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	h := operatortest.New(t, operatortest.Config{
		Factory: refusing(), Rows: must(columnar.TypeOf[sale]()), Key: must(columnar.HasherOf(keyOf)),
		Parallelism: 1 + rng.IntN(3), MaxParallelism: maxParallelism, BatchRows: []int{1, 3, 1024}[rng.IntN(3)],
		Sides: []string{dataflow.SideLate, dataflow.SideDeadLetter}, OnError: p,
	})
	ref := &pickyRef{rows: make(map[[2]any][]sale), fired: make(map[string]int64), seen: make(map[[2]any]int64)}
	for start := int64(0); start < 500; start += 50 {
		for i := range 12 {
			s := sale{Key: keys()[rng.IntN(3)], Amount: rng.Int64N(50), Time: start + rng.Int64N(50)}
			late := i >= 8
			if i == 8 {
				h.Watermark(start + 49)
				for id := range ref.rows {
					if id[1] == start {
						ref.fire(id[0].(string), start)
					}
				}
			}
			id := [2]any{s.Key, start}
			ref.rows[id] = append(ref.rows[id], s)
			h.Feed(batch(s))
			if late {
				ref.fire(s.Key, start)
			}
		}
		if rng.IntN(3) == 0 {
			h.Restore(h.Checkpoint(operators.Checkpoint{ID: dataflow.CheckpointID(start + 1)}), 1+rng.IntN(3))
		}
	}
	got := operatortest.Rows[row](h, "")
	sortResults(got)
	sortResults(ref.shown)
	if !slices.Equal(got, ref.shown) {
		t.Errorf("results\n got %v\nwant %v", got, ref.shown)
	}
	var letters []string
	for _, d := range operatortest.Rows[connectors.DeadLetter](h, dataflow.SideDeadLetter) {
		letters = append(letters, fmt.Sprintf("%s %d %s %s", d.Key, d.Timestamp, d.Error, d.Value))
	}
	if p == operators.SkipRecord {
		ref.letters = nil
	}
	slices.Sort(letters)
	slices.Sort(ref.letters)
	if !slices.Equal(letters, ref.letters) {
		t.Errorf("dead letters\n got %v\nwant %v", letters, ref.letters)
	}
}

// TestRefusedWindowFails: without a policy.
func TestRefusedWindowFails(t *testing.T) {
	t.Parallel()
	h := harness(t, refusing(), 1, 1, 0)
	op := refusing().New()
	if err := op.Open(h.Context(0)); err != nil {
		t.Fatal(err)
	}
	if err := op.Process(0, batch(sale{"k", 1, 10})); err != nil {
		t.Fatal(err)
	}
	_, err := op.(operators.WatermarkHandler).Watermark(100)
	if err == nil || !strings.Contains(err.Error(), "odd sum 1") {
		t.Fatal(errors.Join(errors.New("no error of the function"), err))
	}
}
