package changelog

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// ResolveConfig describes the third operator of a join by foreign key.
type ResolveConfig[K comparable, O any] struct {
	Versions Keys[K, Version[K]]
	Answers  Keys[K, Answer[K, O]]
	Values   *codec.Codec[O]
}

// Resolve returns the factory of the third operator of a join by foreign key:
// input 0 is versions, 1 answers.
func Resolve[K comparable, O any](cfg ResolveConfig[K, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &resolve[K, O]{cfg: cfg} })
}

// resolved is what is known of a left row: its number, 0 when it is gone or
// not known yet; its result; and an answer whose number is not known yet.
type resolved[O any] struct {
	Version int64
	Has     bool
	Out     O
	Early   int64
	HasNext bool
	Next    O
}

type resolve[K comparable, O any] struct {
	none
	cfg      ResolveConfig[K, O]
	versions keys[K, Version[K]]
	answers  keys[K, Answer[K, O]]
	rows     *state.Value[resolved[O]]
	// seen is the greatest number heard for a key group: an answer for a later
	// change is early, any other is for the row's own number or too old.
	seen groupNumbers
	out  sink[K, O]
}

var _ operators.Snapshotter = (*resolve[int, int])(nil)

// Open implements operators.Operator.
func (o *resolve[K, O]) Open(ctx *operators.Context) (err error) {
	k := state.NewKeyed(ctx.State)
	o.versions, o.answers = newKeys(o.cfg.Versions, k), newKeys(o.cfg.Answers, k)
	o.out.Out, o.out.same.codec = ctx.Out, o.cfg.Values
	if o.seen, err = openNumbers(ctx.State); err != nil {
		return err
	}
	o.rows, err = state.NewValue[resolved[O]](k, "resolved")
	return err
}

// Process implements operators.Operator.
func (o *resolve[K, O]) Process(input int, b *columnar.Batch) error {
	if input == 0 {
		rows := columnar.Rows[Version[K]](b)
		o.versions.begin(rows)
		for i := range rows {
			key := o.versions.set(i, rows[i])
			seen := o.seen.at(o.versions.hashes[i])
			*seen = max(*seen, rows[i].Number)
			o.heard(key, &rows[i], b.Time(i))
		}
	} else {
		rows := columnar.Rows[Answer[K, O]](b)
		o.answers.begin(rows)
		for i := range rows {
			key := o.answers.set(i, rows[i])
			o.answered(key, &rows[i], *o.seen.at(o.answers.hashes[i]), b.Time(i))
		}
	}
	o.out.Flush()
	return nil
}

// heard takes the number of a change.
func (o *resolve[K, O]) heard(key K, v *Version[K], t int64) {
	r, _ := o.rows.Get()
	r.Version = v.Number
	if v.Gone {
		r.Version = 0
		o.becomes(key, &r, optional[O]{}, t)
	}
	var zero O
	switch {
	case r.Early == v.Number && r.Early > 0:
		o.becomes(key, &r, optional[O]{r.Next, r.HasNext}, t)
		fallthrough
	case r.Early < v.Number:
		r.Early, r.Next, r.HasNext = 0, zero, false
	}
	o.keep(&r)
}

// answered takes an answer.
func (o *resolve[K, O]) answered(key K, a *Answer[K, O], seen, t int64) {
	r, _ := o.rows.Get()
	switch {
	case a.Version > seen:
		if a.Version >= r.Early {
			r.Early, r.Next, r.HasNext = a.Version, a.Out, a.Has
		}
	case a.Version == r.Version:
		o.becomes(key, &r, optional[O]{a.Out, a.Has}, t)
	default:
		return
	}
	o.keep(&r)
}

// becomes makes is the result of a row.
func (o *resolve[K, O]) becomes(key K, r *resolved[O], is optional[O], t int64) {
	o.out.change(key, optional[O]{r.Out, r.Has}, is, t)
	r.Out, r.Has = is.v, is.ok
}

// keep writes what is known, if it is anything.
func (o *resolve[K, O]) keep(r *resolved[O]) {
	if r.Version == 0 && r.Early == 0 && !r.Has {
		o.rows.Clear()
		return
	}
	o.rows.Set(*r)
}

// Snapshot implements operators.Snapshotter. Everything is in keyed state.
func (o *resolve[K, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.seen.save()
	return nil, nil
}
