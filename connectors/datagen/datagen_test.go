package datagen_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func row(i int64, rng *rand.Rand) int64 { return i*1000 + rng.Int64N(1000) }

func TestSourceConforms(t *testing.T) {
	t.Parallel()
	const count, splits, seed = 10_007, 3, 9
	want := make(map[string][]int64)
	for i := range int64(count) {
		id := fmt.Sprintf("gen-%d", i%splits)
		want[id] = append(want[id], row(i, rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	connectortest.TestSource(t, connectortest.SourceCase[int64]{
		New: func() connectors.SourceOf[int64] {
			return datagen.New(datagen.Config{Count: count, Splits: splits, Seed: seed}, row)
		},
		Rows: want,
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Unix(0, 0))
	woken := make(chan struct{}, 100)
	r, err := datagen.New(datagen.Config{PerSecond: 1000, Splits: 2}, row).NewReader(&connectors.ReaderContext{
		Clock: now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Wake: func() { woken <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.AddSplits([]connectors.Split{{ID: "gen-1", Position: []byte{1, 0}}}); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := r.Next(); ok {
		t.Fatal("a row came before its time")
	}
	total := 0
	for range 10 {
		now.Advance(100 * time.Millisecond)
		for {
			f, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			total += len(columnar.Rows[int64](f.Batch))
		}
	}
	if total != 500 {
		t.Fatalf("%d rows of one of two splits in a second, want 500", total)
	}
	now.Advance(time.Second)
	<-woken
}

func TestFaultsOfConfig(t *testing.T) {
	t.Parallel()
	_, err := datagen.New(datagen.Config{Count: -1, PerSecond: -2, Splits: -3}, row).NewEnumerator(nil)
	if err == nil {
		t.Fatal("a wrong configuration was taken")
	}
	if got := err.Error(); got != "count -1 is negative\nrate -2 is negative\nnumber of splits -3 is less than 1" {
		t.Errorf("error %q", got)
	}
}
