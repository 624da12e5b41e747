package jobmaster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// The preparation of an attempt, in order: wait until no commit is under way,
// load the manifest, copy a foreign savepoint's objects, record the attempt.
type prepStage int

const (
	prepNone    prepStage = iota
	prepSettle            // a commit is under way
	prepLoad              // the manifest is being read
	prepCopy              // foreign objects are being copied
	prepRecord            // the record is being written
	prepDone              // workers start, deploy, run
	prepDropped           // given up
)

type preparation struct {
	stage   prepStage
	attempt dataflow.Attempt
	reason  string // what it waits for
	restore *controlv1.Restore
	own     dataflow.CheckpointID // restored checkpoint of this job, or 0
	version int64                 // of the record that holds the attempt
}

func (p *preparation) is(n dataflow.Attempt) bool {
	return p.attempt == n && (p.stage == prepLoad || p.stage == prepCopy)
}

func (c *Core) prepare(n dataflow.Attempt) {
	c.takePlan()
	c.prep = preparation{stage: prepSettle, attempt: n}
}

// advancePreparation takes the steps that need no answer.
func (c *Core) advancePreparation() {
	switch c.prep.stage {
	case prepSettle:
		if c.coord.Settled() {
			c.chooseRestore()
		}
	case prepRecord:
		if c.recStored >= c.prep.version {
			c.prep.stage = prepDone
			c.push(scheduler.Prepared{Attempt: c.prep.attempt})
		}
	}
	if s := c.sched.State(); s != scheduler.Preparing && c.prep.stage < prepDone {
		c.prep.stage = prepDropped
	}
}

// chooseRestore decides where the attempt starts from: the latest committed
// checkpoint, else the savepoint that the job was submitted with, else
// nothing.
func (c *Core) chooseRestore() {
	latest := c.coord.Latest()
	switch {
	case latest != nil:
		c.prep.own = latest.ID
		if m := c.manifests.latest; m != nil && m.GetCheckpointId() == int64(latest.ID) {
			c.planRestore(m)
			return
		}
		c.prep.stage = prepLoad
		c.emit(LoadManifest{Attempt: c.prep.attempt, Key: latest.Manifest})
	case c.rec.FromSavepoint != "":
		c.prep.stage = prepLoad
		c.emit(LoadManifest{Attempt: c.prep.attempt, Key: c.rec.FromSavepoint})
	default:
		c.record()
	}
}

func (c *Core) manifestLoaded(ev ManifestLoaded) {
	if !c.prep.is(ev.Attempt) || c.prep.stage != prepLoad {
		return
	}
	c.prep.reason = ""
	if c.prep.own > 0 {
		c.manifests.latest = ev.Manifest
	}
	c.planRestore(ev.Manifest)
}

// manifestBad fails the job: a checkpoint that cannot be read is never
// skipped in favour of an older one, since its side effects are committed.
func (c *Core) manifestBad(ev ManifestBad) {
	if !c.prep.is(ev.Attempt) {
		return
	}
	c.prepareFailed(&jobview.Error{
		Code: "LEAT4205", Kind: jobview.KindFailed, What: "the manifest of the checkpoint to start from is damaged", Why: ev.Reason,
		Where: c.cfg.URI(c.restoreKey()), Fix: []string{"start a new job from a savepoint or an older retained checkpoint"},
	})
}

// stateMissing fails the job: a savepoint that is not whole is no start.
func (c *Core) stateMissing(ev StateMissing) {
	if !c.prep.is(ev.Attempt) {
		return
	}
	c.prepareFailed(&jobview.Error{
		Code: "LEAT4212", Kind: jobview.KindFailed, What: "an object of the savepoint to start from is missing", Why: ev.Reason,
		Where: c.cfg.URI(c.restoreKey()), Fix: []string{"bring the object back from a copy of the storage, or start from another savepoint or checkpoint"},
	})
}

func (c *Core) restoreKey() string {
	if l := c.coord.Latest(); l != nil {
		return l.Manifest
	}
	return c.rec.FromSavepoint
}

func (c *Core) prepareFailed(err *jobview.Error) {
	c.prep.stage = prepDropped
	c.push(scheduler.PrepareFailed{Attempt: c.prep.attempt, Failure: scheduler.Failure{Error: *err, Fatal: true, Unstartable: true}})
}

// planRestore checks the manifest against the graph and goes on.
func (c *Core) planRestore(m *checkpointv1.Manifest) {
	rules := RestoreRules{Where: c.cfg.URI(c.restoreKey())}
	if c.prep.own == 0 {
		rules.Foreign, rules.AllowDrained, rules.DropState = true, c.rec.AllowDrained, c.rec.DropState
	}
	r, err := PlanRestore(c.graph, m, rules)
	if err != nil {
		c.prepareFailed(err)
		return
	}
	copies := c.localise(r)
	c.prep.restore = r
	if len(copies) == 0 {
		c.record()
		return
	}
	c.prep.stage = prepCopy
	c.prep.reason = fmt.Sprintf("copies %d objects of the savepoint", len(copies))
	c.emit(CopyState{Attempt: c.prep.attempt, Objects: copies})
}

// localise makes the handles' keys relative to the job's prefix, which is all
// that workers may read. Objects elsewhere are to be copied there first; the
// copies belong to the job, and the savepoint stays its owner's.
func (c *Core) localise(r *controlv1.Restore) []ObjectCopy {
	prefix := ObjectPrefix(c.rec.ID)
	copies := make(map[string]string)
	handles := make([]*controlv1.StateHandle, len(r.Handles))
	for i, h := range r.Handles {
		h := proto.Clone(h).(*controlv1.StateHandle)
		handles[i] = h
		key := h.GetObject()
		if key == "" {
			continue
		}
		local, own := strings.CutPrefix(key, prefix)
		if !own {
			local = fmt.Sprintf("restored/%s", strings.ReplaceAll(key, "/", "_"))
			copies[key] = prefix + local
		}
		h.Object = local
	}
	r.Handles = handles
	var out []ObjectCopy
	for _, from := range slices.Sorted(maps.Keys(copies)) {
		out = append(out, ObjectCopy{From: from, To: copies[from]})
	}
	return out
}

func (c *Core) stateCopied(ev StateCopied) {
	if c.prep.is(ev.Attempt) && c.prep.stage == prepCopy {
		c.record()
	}
}

// record stores the attempt, its workers and its pools before any worker is
// started: numbers are never used twice, a new leader finds the workers, and
// no transactional id is used that is not recorded.
func (c *Core) record() {
	c.rec.Attempt = c.prep.attempt
	c.rec.Workers = c.sched.Workers()
	c.rec.Pools = GrowPools(c.rec.Pools, c.plan)
	c.prep.stage, c.prep.reason = prepRecord, ""
	c.prep.version = c.touch()
	c.restored = 0
	if c.prep.restore != nil {
		c.restored = dataflow.CheckpointID(c.prep.restore.GetCheckpointId())
		c.restoredCnt++
	}
	c.attempt = liveAttempt{number: c.prep.attempt, token: c.cfg.NewToken()}
}
