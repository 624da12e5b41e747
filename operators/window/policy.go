package window

import (
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
	"github.com/leatstream/leat/state/undolog"
)

// policy carries out the error policy of an operator whose function may refuse
// a window. A nil policy fails the attempt.
type policy struct {
	tray *setaside.Tray
	undo *undolog.Backend
	on   bool
}

// newPolicy returns nil when the policy is to fail.
func newPolicy(op *operators.Context) *policy {
	tray := setaside.New(op)
	if tray == nil {
		return nil
	}
	return &policy{tray: tray, undo: undolog.New(op.State)}
}

// trying reports whether a call is in work whose rows may have to be taken
// back.
func (p *policy) trying() bool { return p != nil && p.on }

func (p *policy) flush() {
	if p != nil {
		p.tray.Flush()
	}
}

// tryFire fires the window of ctx, by the error policy.
func tryFire[K comparable, A, O any](fn Function[K, A, O], ctx *Context[K, O], acc *A) error {
	p := ctx.policy
	if p == nil {
		return fn.Fire(ctx, acc)
	}
	emitted := ctx.rows.Len()
	p.undo.Begin()
	p.on = true
	err := fn.Fire(ctx, acc)
	p.on = false
	if err != nil {
		p.undo.Rollback()
		ctx.rows.Cut(emitted)
		at := ctx.win.last()
		if ctx.win.IsGlobal() {
			at = ctx.time
		}
		p.tray.Put(setaside.Record{Row: acc, Key: ctx.key, Time: at}, err)
		return nil
	}
	p.undo.Commit()
	if ctx.rows.Full() {
		ctx.flush()
	}
	return nil
}
