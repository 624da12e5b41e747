package connectortest

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

func describesSink[T any](r *sinkRun[T]) {
	p, a, b := r.p, r.c.New(), r.c.New()
	if a.Name() != b.Name() || a.Detail() != b.Detail() {
		p.failf("Name and Detail, which is a part of the graph's fingerprint, are %q, %q, then %q, %q", a.Name(), a.Detail(), b.Name(), b.Detail())
	}
	if a.Transactional() == r.c.AtLeastOnce || b.Transactional() == r.c.AtLeastOnce {
		p.failf("Transactional is %v and %v, but the case's AtLeastOnce is %v", a.Transactional(), b.Transactional(), r.c.AtLeastOnce)
	}
	if want, err := columnar.TypeOf[T](); err != nil || a.RowType() == nil || a.RowType().Schema() != want.Schema() {
		p.failf("RowType is not columnar.TypeOf of the rows (%v)", err)
	}
}

// crashesEverywhere writes, prepares and commits, and crashes between any two
// of them; it goes on at another parallelism.
func crashesEverywhere[T any](r *sinkRun[T]) {
	rng := rand.New(rand.NewPCG(1, 2))
	var saved []connectors.Committable
	crash := func() { r.restart(1+rng.IntN(3), saved) }
	r.open(2, nil)
	for range r.c.Steps {
		for range 1 + rng.IntN(4) {
			r.writeTo(r.writers[rng.IntN(len(r.writers))], 1+rng.IntN(5))
		}
		fate := rng.IntN(5)
		if fate == 0 { // before the checkpoint: what was written is lost
			crash()
			continue
		}
		prepared := r.prepare(false)
		if fate == 1 { // prepared, but the checkpoint failed: rolled back
			crash()
			continue
		}
		saved = prepared
		r.settle()
		if fate == 2 { // the checkpoint is committed, the effects are not
			crash()
			r.expect("after Recover with what was not committed")
			continue
		}
		r.commit(prepared)
		r.expect("after Commit")
		if fate == 3 { // all done: Recover commits once more
			crash()
			r.expect("after Recover with what was committed")
		}
	}
	last := r.prepare(true)
	r.settle()
	r.commit(last)
	r.expect("at the end")
	r.close()
	r.expect("after Close")
}

func showsNothingEarly[T any](r *sinkRun[T]) {
	if r.c.AtLeastOnce {
		return
	}
	r.open(1, nil)
	r.writeTo(r.writers[0], 10)
	r.expect("after Write")
	r.p.must(r.writers[0].Flush(r.p.ctx), "Flush")
	r.expect("after Flush")
	prepared := r.prepare(false)
	r.expect("after Prepare")
	r.commit(prepared)
	r.settle()
	r.expect("after Commit")
}

func sealsAtPrepare[T any](r *sinkRun[T]) {
	r.open(2, nil)
	r.writeTo(r.writers[0], 5)
	r.writeTo(r.writers[1], 5)
	first := r.prepare(false)
	r.settle()
	r.writeTo(r.writers[0], 5)
	r.writeTo(r.writers[1], 5)
	r.commit(first)
	r.expect("after a Commit with later rows written since Prepare")
	second := r.prepare(true)
	r.settle()
	r.commit(second)
	r.expect("after the next Commit")
}

func commitsAgain[T any](r *sinkRun[T]) {
	r.open(2, nil)
	r.writeTo(r.writers[0], 5)
	r.writeTo(r.writers[1], 5)
	all := r.prepare(false)
	r.settle()
	for n := range 3 {
		r.commit(all)
		r.expect(fmt.Sprintf("after Commit number %d of the same", n+1))
	}
	r.restart(3, all)
	r.expect("after Recover with what was committed")
	r.restart(1, all)
	r.expect("after another Recover with what was committed")
	r.commit(all)
	r.expect("after a Commit of what Recover had committed")
}

func recoversAnywhere[T any](r *sinkRun[T]) {
	for _, from := range []int{1, 2, 4} {
		for _, to := range []int{1, 2, 3} {
			r.restart(from, nil)
			for _, w := range r.writers {
				r.writeTo(w, 3)
			}
			all := r.prepare(false)
			r.settle()
			r.writeTo(r.writers[0], 3) // lost
			r.restart(to, all)
			r.expect(fmt.Sprintf("prepared by %d writers and recovered by %d", from, to))
		}
	}
}

func preparesNothing[T any](r *sinkRun[T]) {
	r.open(2, nil)
	for _, final := range []bool{false, true} {
		if all := r.prepare(final); len(all) > 0 {
			r.p.failf("Prepare without rows, final %v, returned %d committables", final, len(all))
		}
	}
}

func commitsSkipped[T any](r *sinkRun[T]) {
	r.open(2, nil)
	r.writeTo(r.writers[0], 3)
	first := r.prepare(false) // never committed by itself
	r.writeTo(r.writers[1], 3)
	r.writeTo(r.writers[0], 3)
	second := r.prepare(false)
	r.settle()
	r.commit(first)
	r.commit(second)
	r.expect("after Commit of two checkpoints")
}

func holdsSealed[T any](r *sinkRun[T]) {
	if r.c.AtLeastOnce {
		return
	}
	r.open(1, nil)
	w := r.writers[0]
	limit := w.SealedMax()
	if limit < 1 {
		r.p.failf("SealedMax of a transactional sink is %d: no checkpoint could be taken", limit)
	}
	var all []connectors.Committable
	for n := 0; n < 10 && len(all) < limit; n++ {
		r.writeTo(w, 2)
		all = append(all, r.prepare(false)...)
	}
	r.settle()
	r.expect0("before any Commit")
	r.commit(all)
	r.expect("after one Commit of all")
}

// expect0 checks that nothing is visible yet.
func (r *sinkRun[T]) expect0(when string) {
	settled := r.settled
	r.settled = r.first
	r.expect(when)
	r.settled = settled
}

// commitsBesideWrites is for the race detector, too.
func commitsBesideWrites[T any](r *sinkRun[T]) {
	r.open(1, nil)
	w := r.writers[0]
	for range 5 {
		r.writeTo(w, 10)
		all := r.prepare(false)
		r.settle()
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = w.Commit(r.p.ctx, all) })
		r.writeTo(w, 10)
		wg.Wait()
		r.p.must(err, "Commit beside Write")
		r.expect("after a Commit beside Write")
	}
}

// tellsLivesApart: another start of the job (from a savepoint, say) has the
// same subtasks and checkpoint numbers, and nothing of the life before is its
// business.
func tellsLivesApart[T any](r *sinkRun[T]) {
	r.open(1, nil)
	r.writeTo(r.writers[0], 5)
	old := r.prepare(false)
	r.settle()
	r.commit(old)
	r.expect("after Commit")
	r.close()
	r.cp-- // the same number again
	r.life = dataflow.Incarnation("another" + r.life[7:])
	r.open(1, nil)
	r.writeTo(r.writers[0], 5)
	again := r.prepare(false)
	r.settle()
	r.commit(again)
	r.expect("after a Commit of the same checkpoint's number in another life")
}

func takesAnyBatch[T any](r *sinkRun[T]) {
	r.open(1, nil)
	w := r.writers[0]
	for _, n := range []int{1, 3, 0, 200} {
		r.writeTo(w, n)
	}
	b := columnar.NewBatch([]T{r.c.Row(r.next), r.c.Row(r.next + 1)}, nil)
	r.next += 2
	r.p.must(r.put(w, b), "Write of a batch without times")
	all := r.prepare(true)
	r.settle()
	r.commit(all)
	r.expect("after batches of 1, 3, 0, many and 2 rows")
}

func refusesCommittables[T any](r *sinkRun[T]) {
	if r.c.AtLeastOnce {
		return
	}
	r.open(1, nil)
	r.writeTo(r.writers[0], 3)
	all := r.prepare(false)
	if len(all) == 0 {
		r.p.failf("Prepare after rows returned no committables")
	}
	for name, data := range garbage(all[0].Data) {
		bad := []connectors.Committable{{Owner: all[0].Owner, Data: data}}
		if err := r.writers[0].Commit(r.p.ctx, bad); err == nil {
			r.p.failf("Commit took a committable with %s: %x, which was %x", name, data, all[0].Data)
		}
	}
	r.commit(all)
	r.settle()
	r.expect("after a Commit of what is good")
}

func rejectsRows[T any](r *sinkRun[T]) {
	if r.c.Refused == nil {
		return
	}
	r.open(1, nil)
	w := r.writers[0]
	batch := []T{r.c.Row(r.next), r.c.Refused(), r.c.Row(r.next + 1)}
	r.next += 2
	r.p.must(r.put(w, columnar.NewBatch(batch, []int64{1, 2, 3})), "Write of a batch with a row to reject")
	all := r.prepare(false)
	if w.refused != 1 {
		r.p.failf("Reject was called %d times for one row", w.refused)
	}
	r.settle()
	r.commit(all)
	r.expect("after a batch with a row that was rejected")
	r.close()
	r.attempt++
	strict := r.openOne(0, 1, all, false)
	r.writers = append(r.writers, strict)
	err := r.put(strict, columnar.NewBatch([]T{r.c.Refused()}, []int64{1}))
	if err == nil {
		_, err = strict.Prepare(r.p.ctx, r.cp+1, false)
	}
	if err == nil {
		r.p.failf("nobody takes refused rows (Reject is nil), but Write and Prepare returned no error")
	}
}

func closesSinkAnytime[T any](r *sinkRun[T]) {
	for step := range 4 {
		r.open(2, nil)
		if step > 0 {
			r.writeTo(r.writers[0], 3)
		}
		if step > 1 {
			r.p.must(r.writers[0].Flush(r.p.ctx), "Flush")
		}
		if step > 2 {
			r.prepare(false)
		}
		r.close()
		if !r.c.AtLeastOnce {
			r.expect("after Close without a commit")
		}
		r.next = r.settled
	}
	r.open(1, nil)
	r.writeTo(r.writers[0], 3)
	all := r.prepare(true)
	r.settle()
	r.commit(all)
	r.expect("after what was closed before")
}
