package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// world runs a coordinator against a real store and a pointer that is written
// with faults. Whatever happens, and in whatever order answers come:
//   - no object is written twice and ids only grow, over all coordinators;
//   - what the stored pointer names can be read, with all its objects;
//   - the pointer never goes back;
//   - an attempt starts from the pointer;
//   - every request is answered at most once, and exactly once if its
//     coordinator lives on.
type world struct {
	t       *testing.T
	r       *rand.Rand
	store   store.Store
	clock   *clock.Manual
	c       *Coordinator
	stored  Pointer
	attempt dataflow.Attempt
	running bool
	// inbox holds what is under way to the coordinator, in no order.
	inbox   []Body
	asked   map[string]int // operation → answers
	op      int
	lastID  dataflow.CheckpointID
	commits int
	trace   []string
}

func TestRandomHistories(t *testing.T) {
	t.Parallel()
	total := 0
	for seed := range uint64(200) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 5)), clock: clock.NewManual(time.Unix(1e9, 0)), asked: map[string]int{}}
		w.store = memstore.New(w.clock)
		w.recover()
		for range 400 {
			w.act()
		}
		w.settle()
		total += w.commits
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.trace[max(0, len(w.trace)-60):], "\n"))
		}
	}
	if total < 1000 {
		t.Fatalf("%d commits in all: the histories do not get far", total)
	}
}

func (w *world) fail(format string, args ...any) { w.t.Errorf(format, args...) }

// recover starts a coordinator from what is stored.
func (w *world) recover() {
	rec := Recovered{Pointer: w.stored.clone()}
	for _, e := range w.stored.Retained {
		m, err := manifest.Read(context.Background(), w.store, e.Manifest)
		if err != nil {
			w.fail("retained checkpoint %d: %v", e.ID, err)
			continue
		}
		if w.r.IntN(10) > 0 {
			rec.Completed = append(rec.Completed, CompletedOf(e, m))
		}
	}
	c, err := New(Config{Job: "j", MaxParallelism: 128, Interval: time.Second, Timeout: 5 * time.Second, SavepointTimeout: 8 * time.Second,
		RetryPause: 500 * time.Millisecond, Retain: 1 + w.r.IntN(3), PointerAttemptsMax: 2}, rec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.c, w.inbox, w.running = c, nil, false
	w.asked = map[string]int{}
	w.trace = append(w.trace, fmt.Sprintf("recover latest=%v", w.stored.Latest))
}

func (w *world) act() {
	switch k := w.r.IntN(100); {
	case k < 20:
		w.clock.Advance(time.Duration(w.r.IntN(1500)) * time.Millisecond)
		w.step(Tick{})
	case k < 75:
		w.deliver()
	case k < 80:
		w.op++
		kinds := []Kind{KindManual, KindHandover, KindSavepoint, KindSavepoint, KindStop, KindFinal}
		name := fmt.Sprint("op", w.op)
		w.asked[name] = 0
		w.step(Request{Operation: name, Kind: kinds[w.r.IntN(len(kinds))]})
	case k < 84 && w.running:
		w.running = false
		w.step(AttemptEnded{Attempt: w.attempt, Reason: "crash"})
	case k < 96 && !w.running && w.c.Settled():
		w.start()
	case k == 99:
		w.recover()
	}
}

func (w *world) start() {
	w.attempt++
	w.running = true
	e := AttemptStarted{Attempt: w.attempt, CoordinatorWorker: "w0", Operators: []Operator{{ID: "op", Parallelism: 2}},
		Workers: []Worker{{ID: "w0", Subtasks: []Subtask{{0, 0}}}, {ID: "w1", Subtasks: []Subtask{{0, 1}}}}}
	if l := w.c.Latest(); l != nil {
		e.Restored = l.ID
		if w.stored.Latest == nil || w.stored.Latest.ID != l.ID {
			w.fail("attempt starts from %d, stored is %v", l.ID, w.stored.Latest)
		}
	}
	w.step(e)
}

func (w *world) deliver() {
	if len(w.inbox) == 0 {
		return
	}
	i := w.r.IntN(len(w.inbox))
	body := w.inbox[i]
	w.inbox = slices.Delete(w.inbox, i, i+1)
	w.step(body)
}

func (w *world) step(body Body) {
	w.trace = append(w.trace, fmt.Sprintf("event %T %+v", body, body))
	cmds, err := w.c.Step(Event{Now: w.clock.Now(), Body: body})
	if err != nil {
		w.fail("%v", err)
	}
	if wake, ok := w.c.Wake(); ok && !wake.After(w.clock.Now()) {
		w.fail("wake at %v, now is %v: the driver would spin", wake, w.clock.Now())
	}
	for _, x := range cmds {
		w.trace = append(w.trace, "  "+printCommand(x))
		w.carryOut(x)
	}
}

func (w *world) send(body Body) { w.inbox = append(w.inbox, body) }

func (w *world) carryOut(x Command) {
	switch x := x.(type) {
	case ReserveIDs:
		if w.r.IntN(4) == 0 {
			w.send(ReserveFailed{})
			return
		}
		w.stored.Reserved = x.Pointer.Reserved
		w.send(IDsReserved{Through: x.Through})
	case Trigger:
		w.trigger(x)
	case WriteManifest:
		if w.r.IntN(10) == 0 {
			w.send(ManifestFailed{ID: x.ID, Reason: "full"})
			return
		}
		if _, err := manifest.Write(context.Background(), w.store, x.Key, x.Manifest); err != nil {
			w.fail("%v", err)
		}
		w.send(ManifestWritten{ID: x.ID})
	case MovePointer:
		w.movePointer(x)
	case ReadPointer:
		if w.r.IntN(3) == 0 {
			w.send(PointerUnread{ID: x.ID})
			return
		}
		p := w.stored.clone()
		w.send(PointerRead{ID: x.ID, Pointer: &p})
	case NotifyCommitted:
		for _, worker := range x.To {
			if w.r.IntN(10) > 0 {
				w.send(CommitDone{Attempt: x.Attempt, Worker: worker, ID: x.ID})
			}
		}
	case Committed:
		w.commits++
	case Discard:
		if err := DiscardObjects(context.Background(), w.store, x); err != nil {
			w.fail("%v", err)
		}
		w.checkStored()
	case Sweep:
		if _, err := SweepObjects(context.Background(), w.store, x); err != nil {
			w.fail("%v", err)
		}
		w.checkStored()
	case OperationDone:
		if n, ok := w.asked[x.Operation]; !ok || n > 0 {
			w.fail("operation %q is answered again", x.Operation)
		}
		w.asked[x.Operation]++
	}
}

// trigger has the workers answer; some objects are shared with the latest
// checkpoint, some answers are lost, some are refusals.
func (w *world) trigger(x Trigger) {
	id := dataflow.CheckpointID(x.Message.GetId())
	if id <= w.lastID || id > w.stored.Reserved {
		w.fail("id %d follows %d, reserved %d", id, w.lastID, w.stored.Reserved)
	}
	w.lastID = id
	if w.r.IntN(12) > 0 {
		w.send(Snapshot{Attempt: x.Attempt, Worker: "w0", Snapshot: &controlv1.CoordinatorSnapshot{Id: int64(id)}})
	}
	for i, worker := range x.To {
		switch w.r.IntN(14) {
		case 0:
			continue
		case 1:
			w.send(Decline{Attempt: x.Attempt, Worker: worker, Decline: &controlv1.CheckpointDecline{Id: int64(id)}})
			continue
		}
		own := x.Message.GetObjectDir() + worker + ".state"
		if err := w.store.PutIfAbsent(context.Background(), "jobs/j/"+own, []byte("0123456789")); err != nil {
			w.fail("object written twice: %v", err)
		}
		objects := []string{own}
		if !x.Message.GetSavepoint() {
			objects = append(objects, w.shared(i)...)
		}
		sub := &controlv1.SubtaskSnapshot{Subtask: &controlv1.SubtaskRef{Subtask: int32(i)}}
		for _, o := range objects {
			sub.Handles = append(sub.Handles, &controlv1.StateHandle{OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_OPERATOR,
				Subtask: int32(i), Object: o, Length: 10})
		}
		w.send(Ack{Attempt: x.Attempt, Worker: worker, Ack: &controlv1.CheckpointAck{Id: int64(id), Subtasks: []*controlv1.SubtaskSnapshot{sub}}})
	}
}

// shared returns some of the latest automatic checkpoint's objects.
func (w *world) shared(worker int) []string {
	l := w.stored.Latest
	if l == nil || l.Savepoint {
		return nil
	}
	m, err := manifest.Read(context.Background(), w.store, l.Manifest)
	if err != nil {
		w.fail("latest: %v", err)
		return nil
	}
	var keys []string
	for _, o := range m.GetObjects() {
		if strings.HasSuffix(o.GetKey(), fmt.Sprintf("w%d.state", worker)) && w.r.IntN(2) == 0 {
			keys = append(keys, strings.TrimPrefix(o.GetKey(), "jobs/j/"))
		}
	}
	return keys
}

func (w *world) movePointer(x MovePointer) {
	written := true
	switch w.r.IntN(6) {
	case 0:
		written = false
		w.send(PointerFailed{ID: x.ID})
	case 1:
		w.send(PointerUnknown{ID: x.ID})
	case 2:
		written = false
		w.send(PointerUnknown{ID: x.ID})
	default:
		w.send(PointerMoved{ID: x.ID})
	}
	if !written {
		return
	}
	if l := w.stored.Latest; l != nil && l.ID > x.Pointer.Latest.ID {
		w.fail("pointer goes back from %d to %d", l.ID, x.Pointer.Latest.ID)
	}
	data, err := x.Pointer.Encode()
	if err != nil {
		w.fail("%v", err)
	}
	if w.stored, err = DecodePointer(data); err != nil {
		w.fail("%v", err)
	}
	w.checkStored()
}

// checkStored reads everything that the stored pointer names.
func (w *world) checkStored() {
	entries := slices.Clone(w.stored.Retained)
	if w.stored.Latest != nil {
		entries = append(entries, *w.stored.Latest)
	}
	for _, e := range entries {
		m, err := manifest.Read(context.Background(), w.store, e.Manifest)
		if err != nil {
			w.fail("checkpoint %d is lost: %v", e.ID, err)
			continue
		}
		for _, o := range m.GetObjects() {
			if _, err := w.store.Stat(context.Background(), o.GetKey()); err != nil {
				w.fail("checkpoint %d: %v", e.ID, err)
			}
		}
	}
}

// settle lets everything come to its end: every request is then answered.
func (w *world) settle() {
	for range 300 {
		w.clock.Advance(time.Second)
		w.step(Tick{})
		for range 10 {
			w.deliver()
		}
		if w.running {
			w.running = false
			w.step(AttemptEnded{Attempt: w.attempt})
		}
	}
	if !w.c.Settled() {
		w.fail("not settled in the end")
	}
	for name, n := range w.asked {
		if n != 1 && !w.waitsForConfirmation(name) {
			w.fail("operation %q has %d answers", name, n)
		}
	}
}

func (w *world) waitsForConfirmation(op string) bool {
	return slices.ContainsFunc(w.c.confirm, func(x confirming) bool { return x.Operation == op && x.Kind == KindSavepoint })
}

func TestSweepLeavesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), memstore.New(clock.Real{})
	keep := []string{"jobs/j/chk-12/a", "jobs/j/chk-3/shared", "jobs/j/chk-oops/a", "jobs/j/other", "jobs/j/savepoint-4/manifest",
		"jobs/j/savepoint-4/a", "jobs/j/savepoint-13/a", "jobs/k/chk-1/a", "jobs/j/chk-13/a", "jobs/j/bundle/chk-1/a"}
	gone := []string{"jobs/j/chk-3/a", "jobs/j/chk-3/manifest", "jobs/j/chk-11/a", "jobs/j/savepoint-5/a", "jobs/j/savepoint-5/b/c"}
	for _, key := range slices.Concat(keep, gone) {
		if err := s.PutIfAbsent(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
	}
	n, err := SweepObjects(ctx, s, Sweep{Prefix: "jobs/j/", Below: 12, Keep: []string{"jobs/j/chk-3/shared"}})
	if err != nil || n != len(gone) {
		t.Errorf("%d objects went, want %d: %v", n, len(gone), err)
	}
	for _, key := range keep {
		if _, err := s.Stat(ctx, key); err != nil {
			t.Errorf("kept: %v", err)
		}
	}
	for _, key := range gone {
		if _, err := s.Stat(ctx, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s is still there", key)
		}
	}
}

func TestPointerForms(t *testing.T) {
	t.Parallel()
	const v1 = `{"version":1,"latest":{"id":7,"savepoint":true,"manifest":"jobs/j/savepoint-7/manifest"},"retained":[{"id":6,"manifest":"jobs/j/chk-6/manifest"}],"reserved":1030}`
	p, err := DecodePointer([]byte(v1))
	if err != nil || p.Latest.ID != 7 || !p.Latest.Savepoint || p.Retained[0].ID != 6 || p.Reserved != 1030 {
		t.Fatalf("%+v %v", p, err)
	}
	if data, err := p.Encode(); err != nil || string(data) != v1 {
		t.Errorf("encoded as %s, %v", data, err)
	}
	for _, bad := range []string{"", "{", `{"version":2}`, "null"} {
		if _, err := DecodePointer([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestConfigFaultsAreNamedTogether(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Prefix: "x", MinPause: -1, Retain: 99}, Recovered{})
	for _, want := range []string{"job id", `"x"`, "min pause", "99", "parallelism 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
