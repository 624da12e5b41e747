package minicluster_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// The cards of the job: most are seen once at first, then a few each moment.
const (
	cards    = 24_000
	cardRows = 135_000
)

type use struct{ N, Card int64 }

func useOf(n int64, _ *rand.Rand) use {
	if n < cards {
		return use{n, n}
	}
	return use{n, int64(rand.New(rand.NewPCG(uint64(n), 1)).IntN(cards))}
}

// tally counts the uses of a card; every 5th closes the account, which begins
// anew, so that state is deleted, too. The last three uses are kept in a map.
type tally struct {
	count state.Value[account]
	last  state.Map[int64, string]
}

type account struct {
	Uses int64
	Note string // makes the state worth a chain
}

func (y *tally) Open(ctx *stream.ProcessContext[int64, string]) error {
	if err := y.count.Open(ctx.State(), "count"); err != nil {
		return err
	}
	return y.last.Open(ctx.State(), "last")
}

func (y *tally) Process(ctx *stream.ProcessContext[int64, string], u use) error {
	a, _ := y.count.Get()
	a.Uses++
	a.Note = strings.Repeat(fmt.Sprint(u.Card%10), 60)
	y.last.Delete(a.Uses - 3)
	y.last.Put(a.Uses, fmt.Sprint(u.N))
	var last []string
	for i, v := range y.last.All() {
		last = append(last, fmt.Sprint(i, "=", v))
	}
	ctx.Emit(fmt.Sprint(u.Card, " ", a.Uses, " ", last))
	if a.Uses == 5 {
		y.count.Clear()
		y.last.Clear()
		return nil
	}
	y.count.Set(a)
	return nil
}

// tallied is what the job must give, by a loop.
func tallied() map[string]int {
	uses := make(map[int64][]string)
	out := make(map[string]int)
	for n := range int64(cardRows) {
		u := useOf(n, nil)
		all := append(uses[u.Card], fmt.Sprint(len(uses[u.Card])+1, "=", n))
		out[fmt.Sprint(u.Card, " ", len(all), " ", all[max(0, len(all)-3):])]++
		if len(all) == 5 {
			all = nil
		}
		uses[u.Card] = all
	}
	return out
}

// TestChangesAloneAreWritten: large state is written once, and then what
// changes and a slice; workers that are killed restore chains of files, and
// the result is exact. With each backend.
func TestChangesAloneAreWritten(t *testing.T) {
	t.Parallel()
	for name, backend := range map[string]stream.EnvOption{"memory": stream.StateBackend(stream.MemoryState), "pebble": stream.StateBackend(stream.Pebble)} {
		t.Run(name, func(t *testing.T) { changesAlone(t, backend) })
	}
}

func changesAlone(t *testing.T, backend stream.EnvOption) {
	t.Helper()
	objects := &watched{Store: memstore.New(clock.Real{}), seen: make(map[string]bool), last: make(map[int32]int64)}
	c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 2, Objects: objects})
	out := collection.NewCollector("")
	sha := c.AddProgram("cards", func(_ []string, properties map[string]string) (*graph.JobGraph, error) {
		env := stream.NewEnv(stream.Properties(properties), stream.JobName("cards"), stream.CheckpointInterval(60*time.Millisecond), backend, stream.StateMemory(1<<20))
		rows := stream.From(env, datagen.New(datagen.Config{Count: cardRows, PerSecond: 15_000, Splits: 1}, useOf), stream.UID("uses"))
		keyed := stream.KeyBy(rows, func(u use) int64 { return u.Card })
		stream.Process(keyed, &tally{}, stream.UID("tally"), stream.Parallelism(3)).To(out, stream.UID("out"))
		return env.Graph()
	})
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: sha, Parallelism: 3})
	if err != nil {
		t.Fatal(err)
	}
	grown := false // a checkpoint consisted of much more than was written for it
	for n := range 4 {
		seen := -1
		await(t, c, id, func(v jobview.Job) bool {
			if seen < 0 {
				seen = v.Checkpoints.Completed
			}
			if l := v.Checkpoints.Latest; l != nil {
				grown = grown || l.StateBytes > 3*l.Bytes
			}
			return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= seen+12
		})
		if ws := c.Workers(); len(ws) > 0 && n < 3 {
			_ = c.KillWorker(ws[n%len(ws)])
		}
	}
	await(t, c, id, finished)
	got := make(map[string]int)
	for _, r := range out.Rows() {
		got[r]++
	}
	if want := tallied(); !maps.Equal(got, want) {
		wrong := 0
		for r, n := range want {
			if got[r] != n {
				wrong++
			}
		}
		t.Errorf("%d results, want %d; %d are missing or not there once", len(got), len(want), wrong)
	}
	if !grown && !testing.Short() {
		t.Error("no checkpoint consists of much more than was written for it")
	}
	objects.report(t)
}

// watched notes what the manifests of checkpoints name.
type watched struct {
	store.Store
	mu      sync.Mutex
	parts   int   // files that add to others
	longest int   // files of one chain
	least   int64 // bytes of the smallest file that adds to others
	full    int64 // bytes of the largest that does not
	seen    map[string]bool
	last    map[int32]int64 // attempt of the newest file of a subtask
	resumed int             // attempts of a subtask whose first file adds to one before
}

func (w *watched) note(m *checkpointv1.Manifest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	chain := make(map[int32]int)
	for _, h := range m.GetHandles() {
		if h.GetKind() != controlv1.StateKind_STATE_KIND_KEYED {
			continue
		}
		chain[h.GetSubtask()]++
		w.longest = max(w.longest, chain[h.GetSubtask()])
		if file := fmt.Sprint(h.GetSubtask(), "/", h.GetWritten()); !w.seen[file] {
			w.seen[file] = true
			if last := w.last[h.GetSubtask()]; last != 0 && last != m.GetAttempt() && h.GetBase() != 0 {
				w.resumed++
			}
			w.last[h.GetSubtask()] = m.GetAttempt()
		}
		if h.GetBase() == 0 {
			w.full = max(w.full, h.GetLength())
			continue
		}
		if w.parts++; w.least == 0 || h.GetLength() < w.least {
			w.least = h.GetLength()
		}
	}
}

func (w *watched) report(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d handles of files that add to others, the longest chain has %d; the smallest has %d bytes, the largest full file %d; %d times an attempt went on with a chain", w.parts, w.longest, w.least, w.full, w.resumed)
	if testing.Short() {
		return // with the race detector there are few checkpoints
	}
	if w.resumed == 0 {
		t.Error("after a restore no checkpoint added to what had been restored")
	}
	if w.parts == 0 || w.longest < 4 || w.least > w.full/4 {
		t.Error("checkpoints did not hold what changed alone")
	}
}

// PutIfAbsent implements store.Store.
func (w *watched) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if strings.HasSuffix(key, "/manifest") {
		if m, err := manifest.Decode(key, data); err == nil {
			w.note(m)
		}
	}
	return w.Store.PutIfAbsent(ctx, key, data)
}
