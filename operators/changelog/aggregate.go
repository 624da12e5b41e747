package changelog

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// Regroup returns the factory of an operator that gives the rows of a table
// other keys, of which many rows may have the same. A change is one of the new
// key; when the key itself changes it is a Delete under the old and then an
// Insert under the new one. group is called for the row before, too, and must
// give the same again.
func Regroup[K comparable, V any, G comparable, W any](group func(K, V) (G, W)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &regroup[K, V, G, W]{group: group} })
}

type regroup[K comparable, V any, G comparable, W any] struct {
	none
	group func(K, V) (G, W)
	out   operators.Collector[Change[G, W]]
}

// Open implements operators.Operator.
func (o *regroup[K, V, G, W]) Open(ctx *operators.Context) error {
	o.out.Out = ctx.Out
	return nil
}

// Process implements operators.Operator.
func (o *regroup[K, V, G, W]) Process(_ int, b *columnar.Batch) error {
	for i, c := range columnar.Rows[Change[K, V]](b) {
		t := b.Time(i)
		var was, is Change[G, W]
		if c.Op != Insert {
			was.Op = Delete
			was.Key, was.Before = o.group(c.Key, c.Before)
		}
		if c.Op != Delete {
			is.Key, is.Value = o.group(c.Key, c.Value)
		}
		switch {
		case c.Op == Insert:
			o.out.Add(is, t)
		case c.Op == Delete:
			o.out.Add(was, t)
		case was.Key == is.Key:
			o.out.Add(Change[G, W]{Op: Update, Key: is.Key, Value: is.Value, Before: was.Before}, t)
		default:
			o.out.Add(was, t)
			o.out.Add(is, t)
		}
	}
	o.out.Flush()
	return nil
}

// Aggregator folds the rows of a group into an accumulator A, and takes them
// out of it again.
type Aggregator[W, A, R any] interface {
	Add(acc *A, v W)
	// Subtract undoes an Add of an equal row.
	Subtract(acc *A, v W)
	Result(acc *A) R
}

// Group is what is kept of a group.
type Group[A any] struct {
	Rows int64 // in the group
	Acc  A
}

// AggregateConfig describes an aggregation of regrouped changes.
type AggregateConfig[G comparable, W, A, R any] struct {
	Keys    Keys[G, Change[G, W]]
	Results *codec.Codec[R]
	Fold    Aggregator[W, A, R]
	// KeepEmpty keeps the row of a group whose last row went.
	KeepEmpty bool
}

// Aggregate returns the factory of an operator that makes a table of the
// groups that Regroup made: a row for each group.
func Aggregate[G comparable, W, A, R any](cfg AggregateConfig[G, W, A, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &aggregate[G, W, A, R]{cfg: cfg} })
}

type aggregate[G comparable, W, A, R any] struct {
	none
	cfg    AggregateConfig[G, W, A, R]
	keys   keys[G, Change[G, W]]
	groups *state.Value[Group[A]]
	out    sink[G, R]
}

// Open implements operators.Operator.
func (o *aggregate[G, W, A, R]) Open(ctx *operators.Context) (err error) {
	k := state.NewKeyed(ctx.State)
	o.keys = newKeys(o.cfg.Keys, k)
	o.out.Out, o.out.same.codec = ctx.Out, o.cfg.Results
	o.groups, err = state.NewValue[Group[A]](k, "groups")
	return err
}

// Process implements operators.Operator.
func (o *aggregate[G, W, A, R]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[Change[G, W]](b)
	o.keys.begin(rows)
	for i := range rows {
		c := &rows[i]
		key := o.keys.set(i, *c)
		var was optional[R]
		g, ok := o.groups.Get()
		if ok {
			was = some(o.cfg.Fold.Result(&g.Acc))
			// Read again: the result may refer to what is folded into.
			g, _ = o.groups.Get()
		}
		if c.Op != Insert {
			o.cfg.Fold.Subtract(&g.Acc, c.Before)
			g.Rows--
		}
		if c.Op != Delete {
			o.cfg.Fold.Add(&g.Acc, c.Value)
			g.Rows++
		}
		var is optional[R]
		if g.Rows > 0 || o.cfg.KeepEmpty {
			o.groups.Set(g)
			is = some(o.cfg.Fold.Result(&g.Acc))
		} else {
			o.groups.Clear()
		}
		o.out.change(key, was, is, b.Time(i))
	}
	o.out.Flush()
	return nil
}
