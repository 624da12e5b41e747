package jobmaster_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
	"github.com/leatstream/leat/runtime/slots"
)

// TestRandomLives runs a job through random lives: workers, taskmanagers and
// leaders die at any step, commits are refused, lost or unanswered, messages
// come late. The invariants in check hold after every step, and when the
// faults end the job runs, and ends when told to.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	seeds := uint64(300)
	if testing.Short() {
		seeds = 50
	}
	attached, rescaled := 0, 0
	for seed := range seeds {
		w := newWorld(t, seed)
		for range 2000 {
			w.randomStep()
		}
		w.heal()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		attached += w.attached
		rescaled += w.rescaled
	}
	if rescaled < int(seeds)/2 {
		t.Errorf("jobs were rescaled %d times in %d lives: too few to prove anything", rescaled, seeds)
	}
	if attached < int(seeds)/2 {
		t.Errorf("attempts were taken over %d times in %d lives: too few to prove anything", attached, seeds)
	}
}

// world is everything around one core.
type world struct {
	t    testing.TB
	seed uint64
	rng  *rand.Rand
	now  time.Time
	core *jobmaster.Core
	log  []string

	// What is stored.
	record    jobmaster.Record
	pointer   *checkpoint.Pointer
	graph     []byte
	manifests map[string]*checkpointv1.Manifest

	pool    *slots.Pool
	wanted  int // slots asked for, 0: none
	reserve int // slots to be reserved, 0: none
	tms     map[string]bool
	workers map[string]*simWorker
	toTM    map[string][]*controlv1.JobManagerMessage
	fromTM  map[string][]*controlv1.TaskManagerMessage
	records []jobmaster.Command // waiting for the coordination service
	objects []any               // waiting for the store

	attachable  map[string]int // workers that the leader may take over
	faults      bool
	leaders     int
	follows     bool         // the slots
	attached    int          // attempts taken over from a former leader
	deployedAt  map[int]bool // parallelisms
	rescales    []string     // operations
	rescaled    int          // operations that came about
	triggerMax  int64
	ended       jobview.JobState
	cancelled   bool
	opSequence  int
	lastAttempt int64 // of StartWorker

	// prepared counts the effects in each checkpoint, confirmed the workers
	// of an attempt that have confirmed theirs up to it.
	prepared  map[int64]int64
	confirmed map[int64]map[string]bool
	settled   map[int64]bool
}

type simWorker struct {
	start  *controlv1.StartWorker
	tm     string
	deploy *controlv1.Deploy
	owed   int64 // checkpoint whose effects are not confirmed yet

	running, ending bool
	status          map[[2]int32]*controlv1.TaskStatus
	epoch           int64 // of the leader it has told where it stands
}

var simTMs = []string{"tm-1", "tm-2", "tm-3"}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 99)), now: time.Unix(1_000_000, 0), faults: true,
		manifests: make(map[string]*checkpointv1.Manifest), pool: slots.New(slots.Strategy(seed % 2)),
		tms: make(map[string]bool), workers: make(map[string]*simWorker),
		toTM: make(map[string][]*controlv1.JobManagerMessage), fromTM: make(map[string][]*controlv1.TaskManagerMessage),
		prepared: make(map[int64]int64), confirmed: make(map[int64]map[string]bool), settled: make(map[int64]bool),
		deployedAt: make(map[int]bool),
		record:     jobmaster.Record{ID: "0123456789abcdef0123456789abcdef", Name: "sim", Incarnation: "inc", Parallelism: 2},
	}
	w.lead()
	return w
}

func simGraph() *graph.JobGraph {
	g := &graph.JobGraph{
		Version: graph.FormatVersion, Name: "sim", MaxParallelism: 128, Config: graph.Config{CheckpointInterval: 100 * time.Millisecond},
		Nodes: []*graph.Node{
			{ID: "src", UID: "src", Name: "src", Kind: graph.KindSource, Stateful: true},
			{ID: "out", UID: "out", Name: "out", Kind: graph.KindSink, Stateful: true, Transactional: true},
		},
		Edges: []*graph.Edge{{From: "src", To: "out", Partitioning: graph.Hash}},
	}
	g.Config.Restart.Delay = 10 * time.Millisecond
	g.Config.Restart.DelayMax = 50 * time.Millisecond
	return g
}

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	tail := w.log[max(0, len(w.log)-40):]
	w.t.Fatalf("seed %d: %s\n%s", w.seed, fmt.Sprintf(format, args...), strings.Join(tail, "\n"))
}

// lead starts a core from what is stored. What the former leader had under
// way is carried out or not, and nobody hears of it.
func (w *world) lead() {
	// Commits are ordered: the second is not sent before the first has an answer.
	if len(w.records) > 0 && w.rng.IntN(2) == 0 {
		w.apply(w.records[0])
	}
	w.leaders++
	w.records, w.objects, w.wanted, w.reserve = nil, nil, 0, 0
	clear(w.toTM)
	clear(w.fromTM)
	w.pool = slots.New(slots.Fill)
	for tm := range w.tms {
		w.tms[tm] = false
	}
	rec := checkpoint.Recovered{}
	if w.pointer != nil {
		rec.Pointer = *w.pointer
		for _, e := range w.pointer.Retained {
			m := w.manifests[e.Manifest]
			if m == nil {
				w.errorf("retained checkpoint %d has no manifest", e.ID)
			}
			rec.Completed = append(rec.Completed, checkpoint.CompletedOf(e, m))
		}
	}
	var g []byte
	if w.record.Graph != "" {
		g = w.graph
	}
	core, err := jobmaster.NewCore(jobmaster.CoreConfig{
		Record: w.record, Graph: g, Recovered: rec, Epoch: dataflow.Epoch(w.leaders), Random: rand.New(rand.NewPCG(w.seed, 1)),
		NewToken: func() string { return "token" }, URI: func(k string) string { return "sim:" + k },
	}, w.now)
	if err != nil {
		w.errorf("new leader: %v", err)
	}
	w.core, w.attachable = core, w.record.Attachable()
	w.note("leader %d", w.leaders)
	w.follows = w.record.Auto
	w.step(jobmaster.Begin{})
	w.tellSlots()
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
	if len(w.log) > 400 {
		w.log = w.log[200:]
	}
}

func (w *world) step(ev jobmaster.Event) {
	if w.ended != "" {
		return
	}
	for _, cmd := range w.core.Step(w.now, ev) {
		w.command(cmd)
	}
	if n, last := w.core.Faults(); n > 0 {
		w.errorf("impossible event: %s", last)
	}
}

func (w *world) command(cmd jobmaster.Command) {
	switch cmd := cmd.(type) {
	case jobmaster.RequestPlan:
		b, _ := simGraph().Marshal()
		w.objects = append(w.objects, planned{b})
	case jobmaster.AcquireSlots:
		w.wanted, w.reserve = cmd.N, 0
		w.grant()
	case jobmaster.FollowSlots:
		w.follows = cmd.On
		w.tellSlots()
	case jobmaster.ReserveSlots:
		w.reserve = cmd.N
		w.grant()
	case jobmaster.KeepSlots:
		w.reserve = 0
		w.pool.Keep(w.record.ID, cmd.Shares)
	case jobmaster.ReleaseSlots:
		w.wanted, w.reserve = 0, 0
		w.pool.Release(w.record.ID)
	case jobmaster.Disown:
		if w.core.State() == jobview.JobRunning && w.attachable != nil {
			w.attached++
		}
		w.attachable = nil
	case jobmaster.Send:
		w.check(cmd)
		if w.tms[cmd.TaskManager] {
			w.toTM[cmd.TaskManager] = append(w.toTM[cmd.TaskManager], cmd.Message)
		}
	case jobmaster.DropTaskManager:
		w.lose(cmd.TaskManager, false)
	case jobmaster.WriteRecord, jobmaster.MovePointer, jobmaster.ReserveIDs, jobmaster.ReadPointer:
		w.records = append(w.records, cmd)
	case jobmaster.Discard:
		w.checkDiscard(cmd)
	case jobmaster.Sweep:
	case jobmaster.Ended:
		w.ended = cmd.State
		if w.record.State != cmd.State {
			w.errorf("the job ended %s, its record says %q", cmd.State, w.record.State)
		}
		for id, x := range w.workers {
			if w.tms[x.tm] {
				w.errorf("worker %s is left after the end", id)
			}
		}
		if n := w.latest(); w.prepared[n] > 0 && !w.settled[n] && !strings.Contains(w.record.Reason, "unconfirmed") {
			w.errorf("the job ended %s (%s) with unconfirmed effects of checkpoint %d", cmd.State, w.record.Reason, n)
		}
	default:
		w.objects = append(w.objects, cmd)
	}
}

// planned stands for a plan under way.
type planned struct{ graph []byte }

func (w *world) grant() {
	if w.reserve > 0 {
		if short := w.pool.Reserve(w.record.ID, w.reserve); short != nil {
			w.step(jobmaster.ReserveShort{Reason: short.String()})
			return
		}
		w.reserve = 0
		w.step(jobmaster.SlotsReserved{})
		return
	}
	if w.wanted == 0 {
		return
	}
	shares, short := w.pool.Acquire(w.record.ID, w.wanted)
	if short != nil {
		w.step(jobmaster.SlotsShort{Reason: short.String()})
		return
	}
	w.wanted = 0
	w.step(jobmaster.SlotsGranted{Shares: shares})
}

// check looks at a message before it leaves.
func (w *world) check(cmd jobmaster.Send) {
	switch b := cmd.Message.Body.(type) {
	case *controlv1.JobManagerMessage_StartWorker:
		n := b.StartWorker.Attempt
		w.note("start %s on %s", b.StartWorker.WorkerId, cmd.TaskManager)
		if n < w.lastAttempt {
			w.errorf("attempt %d starts after attempt %d", n, w.lastAttempt)
		}
		w.lastAttempt = n
		if int64(w.record.Attempt) != n || !slices.ContainsFunc(w.record.Workers, func(r scheduler.Worker) bool { return r.ID == b.StartWorker.WorkerId }) {
			w.errorf("worker %s starts, the record knows attempt %d with %v", b.StartWorker.WorkerId, w.record.Attempt, w.record.Workers)
		}
		for id, x := range w.workers {
			if x.start.Attempt != n && w.tms[x.tm] {
				w.errorf("attempt %d starts while worker %s lives", n, id)
			}
		}
	case *controlv1.JobManagerMessage_WorkerCommand:
		w.checkCommand(b.WorkerCommand)
	}
}

func (w *world) latest() int64 {
	if w.pointer == nil || w.pointer.Latest == nil {
		return 0
	}
	return int64(w.pointer.Latest.ID)
}

func (w *world) checkCommand(e *controlv1.WorkerCommandEnvelope) {
	switch c := e.Command.Body.(type) {
	case *controlv1.WorkerCommand_Deploy:
		if got := c.Deploy.GetRestore().GetCheckpointId(); got != w.latest() {
			w.errorf("attempt %d restores %d, committed is %d", e.Attempt, got, w.latest())
		}
		w.checkPlaces(e, c.Deploy)
		if len(c.Deploy.Pools) != 1 || c.Deploy.Pools[0].Size < 6*c.Deploy.Parallelism {
			w.errorf("attempt %d is deployed with pools %v", e.Attempt, c.Deploy.Pools)
		}
		for _, p := range c.Deploy.Pools {
			if w.record.Pools[dataflow.OperatorID(p.OperatorId)] < int(p.Size) {
				w.errorf("pool %s of %d is used, recorded is %v", p.OperatorId, p.Size, w.record.Pools)
			}
		}
	case *controlv1.WorkerCommand_Adopt:
		if c.Adopt.Committed != w.latest() || c.Adopt.VoidThrough < w.triggerMax {
			w.errorf("worker %s is told that %d is committed and all up to %d void; stored is %d, triggered was %d",
				e.WorkerId, c.Adopt.Committed, c.Adopt.VoidThrough, w.latest(), w.triggerMax)
		}
	case *controlv1.WorkerCommand_TriggerCheckpoint:
		if x := w.workers[e.WorkerId]; x != nil && max(x.start.Epoch, x.epoch) != int64(w.leaders) {
			w.errorf("leader %d triggers checkpoints of worker %s, which it has not asked where it stands", w.leaders, e.WorkerId)
		}
		id := c.TriggerCheckpoint.Id
		w.note("trigger %d to %s", id, e.WorkerId)
		if id < w.triggerMax || w.pointer == nil || id > int64(w.pointer.Reserved) {
			w.errorf("checkpoint %d is triggered after %d, reserved %v", id, w.triggerMax, w.pointer)
		}
		w.triggerMax = id
	case *controlv1.WorkerCommand_CheckpointCommitted:
		if id := c.CheckpointCommitted.Id; id > w.latest() {
			w.errorf("commit of %d is told, stored is %d", id, w.latest())
		}
	}
}

// checkPlaces looks whether a deployment is the one that is recorded, and uses
// the slots that its workers have.
func (w *world) checkPlaces(e *controlv1.WorkerCommandEnvelope, d *controlv1.Deploy) {
	p := w.record.Parallelism
	if int(d.Parallelism) != p || len(d.Placements) != 2*p {
		w.errorf("attempt %d is deployed at parallelism %d with %d places, recorded is %d", e.Attempt, d.Parallelism, len(d.Placements), p)
	}
	n := 0
	for _, r := range w.record.Workers {
		n += r.Slots
	}
	if n != p {
		w.errorf("attempt %d of parallelism %d has %d slots", e.Attempt, p, n)
	}
	w.deployedAt[p] = true
}

func (w *world) checkDiscard(d jobmaster.Discard) {
	if w.pointer == nil {
		return
	}
	needed := slices.Clone(w.pointer.Retained)
	if w.pointer.Latest != nil {
		needed = append(needed, *w.pointer.Latest)
	}
	for _, e := range needed {
		if strings.HasPrefix(e.Manifest, d.Prefix) && !slices.Contains(d.Keep, e.Manifest) {
			w.errorf("discard of %s would delete checkpoint %d, which is kept", d.Prefix, e.ID)
		}
	}
}

// randomStep does one of the things that can happen. Some lives are calm,
// so that much is committed, others are not.
func (w *world) randomStep() {
	if calm := []int{20, 60, 200, 600}[w.seed%4]; w.rng.IntN(calm) == 0 {
		w.fault()
		return
	}
	tm := simTMs[w.rng.IntN(len(simTMs))]
	switch k := w.rng.IntN(100); {
	case k < 15:
		w.now = w.now.Add(time.Duration(w.rng.IntN(40)) * time.Millisecond)
		w.step(jobmaster.Tick{})
	case k < 35:
		w.answerRecord()
	case k < 50:
		w.answerObject()
	case k < 72:
		w.deliverToTM(tm)
	case k < 96:
		w.deliverFromTM(tm)
	default:
		w.join(tm)
	}
}

func (w *world) fault() {
	switch k := w.rng.IntN(20); {
	case k < 6:
		for _, id := range slices.Sorted(maps.Keys(w.workers)) {
			if w.rng.IntN(2) == 0 {
				w.exit(w.workers[id], "crash")
				break
			}
		}
	case k < 9:
		w.lose(simTMs[w.rng.IntN(len(simTMs))], w.rng.IntN(2) == 0)
	case k < 11:
		w.lead()
	case k < 13:
		w.savepoint()
	case k == 13:
		if w.rng.IntN(3) == 0 {
			w.rescaleAuto()
			return
		}
		w.rescale(1 + w.rng.IntN(5))
	case k == 14 && w.rng.IntN(8) == 0:
		w.note("cancel")
		w.cancelled = true
		w.step(jobmaster.CancelJob{})
	}
}

// tellSlots tells a job that follows the slots how many there are.
func (w *world) tellSlots() {
	if n := w.pool.Total(); w.follows && n > 0 {
		w.step(jobmaster.AutoSlots{N: n})
	}
}

func (w *world) rescaleAuto() {
	w.opSequence++
	w.note("rescale to auto")
	w.step(jobmaster.RescaleJob{Operation: fmt.Sprintf("op-%d", w.opSequence), Auto: true})
}

func (w *world) rescale(p int) {
	w.opSequence++
	w.note("rescale to %d", p)
	op := fmt.Sprintf("op-%d", w.opSequence)
	w.rescales = append(w.rescales, op)
	w.step(jobmaster.RescaleJob{Operation: op, Target: jobmaster.Parallelism{Default: p}})
}

func (w *world) savepoint() {
	kinds := []checkpoint.Kind{checkpoint.KindManual, checkpoint.KindSavepoint, checkpoint.KindSavepoint, checkpoint.KindStop, checkpoint.KindDrain}
	kind := kinds[w.rng.IntN(len(kinds))]
	if kind.Ending() && w.rng.IntN(4) > 0 {
		return
	}
	w.opSequence++
	w.note("request %s", kind)
	w.step(jobmaster.TakeCheckpoint{Operation: fmt.Sprintf("op-%d", w.opSequence), Kind: kind})
}

// answerRecord carries out the next commit, or lets it fail.
func (w *world) answerRecord() {
	if len(w.records) == 0 {
		return
	}
	cmd := w.records[0]
	w.records = w.records[1:]
	fault := 0
	if w.faults {
		fault = w.rng.IntN(8)
	}
	switch cmd := cmd.(type) {
	case jobmaster.WriteRecord:
		if fault == 1 {
			w.records = append([]jobmaster.Command{cmd}, w.records...) // the driver tries on
			w.step(jobmaster.WriteDelayed{Reason: "no quorum"})
			return
		}
		w.apply(cmd)
		w.step(jobmaster.RecordWritten{Version: cmd.Version})
	case jobmaster.MovePointer:
		if fault == 0 || fault > 3 || fault == 2 {
			w.apply(cmd)
		}
		switch {
		case fault == 1:
			w.step(jobmaster.Answer{Body: checkpoint.PointerFailed{ID: cmd.ID, Reason: "refused"}})
		case fault == 2 || fault == 3:
			w.step(jobmaster.Answer{Body: checkpoint.PointerUnknown{ID: cmd.ID}})
		default:
			w.step(jobmaster.Answer{Body: checkpoint.PointerMoved{ID: cmd.ID}})
		}
	case jobmaster.ReserveIDs:
		if fault == 1 {
			w.step(jobmaster.Answer{Body: checkpoint.ReserveFailed{Reason: "refused"}})
			return
		}
		w.apply(cmd)
		w.step(jobmaster.Answer{Body: checkpoint.IDsReserved{Through: cmd.Through}})
	case jobmaster.ReadPointer:
		w.step(jobmaster.Answer{Body: checkpoint.PointerRead{ID: cmd.ID, Pointer: w.pointer}})
	}
}

// apply stores what a commit writes.
func (w *world) apply(cmd jobmaster.Command) {
	set := func(p checkpoint.Pointer) {
		if w.pointer != nil && w.pointer.Latest != nil && (p.Latest == nil || p.Latest.ID < w.pointer.Latest.ID) {
			w.errorf("the pointer goes back from %v to %v", w.pointer.Latest, p.Latest)
		}
		w.pointer = &p
	}
	switch cmd := cmd.(type) {
	case jobmaster.WriteRecord:
		if cmd.Record.Attempt < w.record.Attempt {
			w.errorf("the recorded attempt goes back from %d to %d", w.record.Attempt, cmd.Record.Attempt)
		}
		w.record = cmd.Record
	case jobmaster.MovePointer:
		w.note("commit %d", cmd.ID)
		set(cmd.Pointer)
		if cmd.Record != nil {
			w.record = *cmd.Record
		}
	case jobmaster.ReserveIDs:
		set(cmd.Pointer)
	}
}

func (w *world) answerObject() {
	if len(w.objects) == 0 {
		return
	}
	cmd := w.objects[0]
	w.objects = w.objects[1:]
	switch cmd := cmd.(type) {
	case planned:
		w.step(jobmaster.PlanReady{Graph: cmd.graph})
	case jobmaster.StoreGraph:
		w.graph = cmd.Graph
		w.step(jobmaster.GraphStored{})
	case jobmaster.LoadManifest:
		m := w.manifests[cmd.Key]
		if m == nil {
			w.errorf("manifest %s was never written", cmd.Key)
		}
		w.step(jobmaster.ManifestLoaded{Attempt: cmd.Attempt, Manifest: m})
	case jobmaster.WriteManifest:
		if w.faults && w.rng.IntN(10) == 0 {
			w.step(jobmaster.Answer{Body: checkpoint.ManifestFailed{ID: cmd.ID, Reason: "503"}})
			return
		}
		if w.manifests[cmd.Key] != nil {
			w.errorf("manifest %s is written twice", cmd.Key)
		}
		w.manifests[cmd.Key] = cmd.Manifest
		w.step(jobmaster.Answer{Body: checkpoint.ManifestWritten{ID: cmd.ID}})
	}
}
