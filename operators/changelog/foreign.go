package changelog

import (
	"encoding/binary"
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// A join by a foreign key is three operators. Subscribe, where the left rows
// are, numbers their changes and tells the place of a foreign key which left
// rows point at it. Serve, at that place, answers with results, whenever the
// left or the right row changes. Resolve, where the left rows are again,
// gathers the answers for a left row, which may come from several places in
// any order. It hears the numbers from Subscribe as well, in order: an answer
// counts when it is for the latest change.

// Subscription tells what a left row points at.
type Subscription[F comparable, K comparable, L any] struct {
	To   F
	Key  K
	Left L
	// Version is the number of the change of the left row.
	Version int64
	// Gone says that the row does not point here any more.
	Gone bool
	// Detached says that the row points at nothing; To is the zero F.
	Detached bool
}

// Version is the number of the latest change of a left row.
type Version[K comparable] struct {
	Key    K
	Number int64
	// Gone says that the change deleted the row.
	Gone bool
}

// VersionKey returns the key of the left row.
func VersionKey[K comparable](v Version[K]) K { return v.Key }

// SideVersions is the side output of Subscribe with rows Version.
const SideVersions = "versions"

// To returns what a subscription is for.
func To[F comparable, K comparable, L any](s Subscription[F, K, L]) F { return s.To }

// Subscribe returns the factory of the first operator. key says what a left
// row points at; with false it points at nothing. It is called for the row
// before, too, and must give the same again.
func Subscribe[K comparable, L any, F comparable](key func(L) (F, bool)) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &subscribe[K, L, F]{key: key} })
}

type subscribe[K comparable, L any, F comparable] struct {
	none
	key      func(L) (F, bool)
	counts   groupNumbers
	version  int64
	out      operators.Collector[Subscription[F, K, L]]
	versions operators.Collector[Version[K]]
}

var _ operators.Snapshotter = (*subscribe[int, int, int])(nil)

// Open implements operators.Operator.
func (o *subscribe[K, L, F]) Open(ctx *operators.Context) (err error) {
	o.out.Out = ctx.Out
	o.versions.Out = sideOutput{ctx.Out, SideVersions}
	o.counts, err = openNumbers(ctx.State)
	o.version = o.counts.most()
	return err
}

// Process implements operators.Operator.
func (o *subscribe[K, L, F]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[Change[K, L]](b)
	for i := range rows {
		o.change(&rows[i], b.Time(i))
	}
	// The numbers go first, which spares Resolve from keeping answers.
	o.versions.Flush()
	o.out.Flush()
	return nil
}

func (o *subscribe[K, L, F]) change(c *Change[K, L], t int64) {
	o.version++
	o.versions.Add(Version[K]{Key: c.Key, Number: o.version, Gone: c.Op == Delete}, t)
	old := Subscription[F, K, L]{Key: c.Key, Version: o.version, Gone: true}
	is := Subscription[F, K, L]{Key: c.Key, Version: o.version, Left: c.Value}
	if c.Op != Insert {
		old.To, old.Detached = o.place(c.Before)
	}
	if c.Op != Delete {
		is.To, is.Detached = o.place(c.Value)
	}
	moved := old.To != is.To || old.Detached != is.Detached
	if c.Op == Delete || c.Op == Update && moved {
		o.out.Add(old, t)
	}
	if c.Op != Delete {
		o.out.Add(is, t)
	}
}

func (o *subscribe[K, L, F]) place(l L) (to F, detached bool) {
	f, ok := o.key(l)
	if !ok {
		return to, true
	}
	return f, false
}

// Snapshot implements operators.Snapshotter. Everything is in keyed state.
func (o *subscribe[K, L, F]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.counts.raiseAll(o.version)
	o.counts.save()
	return nil, nil
}

// sideOutput is an Output whose main output is a side output of another.
type sideOutput struct {
	operators.Output
	tag string
}

// Emit implements operators.Output.
func (o sideOutput) Emit(b *columnar.Batch) { o.EmitSide(o.tag, b) }

// groupNumbers is a number for each key group that only grows.
type groupNumbers struct {
	backend state.Backend
	first   dataflow.KeyGroup
	of      []int64
}

// numbersName names it in the state, 8 bytes little-endian.
const numbersName = "foreign-version"

func openNumbers(b state.Backend) (groupNumbers, error) {
	n := groupNumbers{backend: b, first: b.KeyGroups().First, of: make([]int64, b.KeyGroups().Len())}
	for i := range n.of {
		g := n.first + dataflow.KeyGroup(i)
		v := b.GroupValue(numbersName, g)
		if v != nil && len(v) != 8 {
			return n, fmt.Errorf("state of a join by foreign key: the version of key group %d has %d bytes, want 8", g, len(v))
		}
		if v != nil {
			n.of[i] = int64(binary.LittleEndian.Uint64(v))
		}
	}
	return n, nil
}

func (n *groupNumbers) most() (m int64) {
	for _, x := range n.of {
		m = max(m, x)
	}
	return m
}

// at returns the number of the group of a hash.
func (n *groupNumbers) at(hash uint64) *int64 {
	g := dataflow.KeyGroupOf(hash, n.backend.MaxParallelism())
	return &n.of[g-n.first]
}

func (n *groupNumbers) raiseAll(to int64) {
	for i := range n.of {
		n.of[i] = max(n.of[i], to)
	}
}

// save writes the numbers into the state, before a snapshot of it.
func (n *groupNumbers) save() {
	var v [8]byte
	for i, x := range n.of {
		binary.LittleEndian.PutUint64(v[:], uint64(x))
		n.backend.SetGroupValue(numbersName, n.first+dataflow.KeyGroup(i), v[:])
	}
}

// Answer is a result for a change of a left row.
type Answer[K comparable, O any] struct {
	Key     K
	Version int64
	Out     O
	Has     bool // Out is a result; else there is none
}

// AnswerKey returns the key of the left row that an answer is for.
func AnswerKey[K comparable, O any](a Answer[K, O]) K { return a.Key }

// ServeConfig describes the second operator.
type ServeConfig[F comparable, K comparable, L, R, O any] struct {
	Subscriptions Keys[F, Subscription[F, K, L]]
	Rights        Keys[F, Change[F, R]]
	RightCodec    *codec.Codec[R]
	Pair          Pairing[L, R, O]
}

// subscriber is a left row at the place it points at.
type subscriber[L any] struct {
	Version int64
	Left    L
}

// Serve returns the factory of the second operator: input 0 is subscriptions,
// 1 the right table.
func Serve[F comparable, K comparable, L, R, O any](cfg ServeConfig[F, K, L, R, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &serve[F, K, L, R, O]{cfg: cfg} })
}

type serve[F comparable, K comparable, L, R, O any] struct {
	none
	cfg    ServeConfig[F, K, L, R, O]
	subs   keys[F, Subscription[F, K, L]]
	rights keys[F, Change[F, R]]
	lefts  *state.Map[K, subscriber[L]]
	right  cell[R]
	out    operators.Collector[Answer[K, O]]
}

// Open implements operators.Operator.
func (o *serve[F, K, L, R, O]) Open(ctx *operators.Context) (err error) {
	k := state.NewKeyed(ctx.State)
	o.subs, o.rights = newKeys(o.cfg.Subscriptions, k), newKeys(o.cfg.Rights, k)
	o.out.Out = ctx.Out
	if o.lefts, err = state.NewMap[K, subscriber[L]](k, "subscribers"); err != nil {
		return err
	}
	o.right, err = openCell(k, "right", o.cfg.RightCodec)
	return err
}

// Process implements operators.Operator.
func (o *serve[F, K, L, R, O]) Process(input int, b *columnar.Batch) error {
	if input == 0 {
		rows := columnar.Rows[Subscription[F, K, L]](b)
		o.subs.begin(rows)
		for i := range rows {
			o.subs.set(i, rows[i])
			o.subscribed(&rows[i], b.Time(i))
		}
	} else {
		rows := columnar.Rows[Change[F, R]](b)
		o.rights.begin(rows)
		for i := range rows {
			o.rights.set(i, rows[i])
			o.changed(now(&rows[i]), b.Time(i))
		}
	}
	o.out.Flush()
	return nil
}

func (o *serve[F, K, L, R, O]) subscribed(s *Subscription[F, K, L], t int64) {
	var r optional[R]
	switch {
	case s.Gone:
		if !s.Detached {
			o.lefts.Delete(s.Key)
		}
		return
	case !s.Detached:
		o.lefts.Put(s.Key, subscriber[L]{s.Version, s.Left})
		r = o.right.get()
	}
	out := o.cfg.Pair.of(some(s.Left), r)
	o.out.Add(Answer[K, O]{Key: s.Key, Version: s.Version, Out: out.v, Has: out.ok}, t)
}

// changed answers all left rows that point at a right row.
func (o *serve[F, K, L, R, O]) changed(is optional[R], t int64) {
	if _, changed := o.right.put(is); !changed {
		return
	}
	for key, s := range o.lefts.All() {
		out := o.cfg.Pair.of(some(s.Left), is)
		o.out.Add(Answer[K, O]{Key: key, Version: s.Version, Out: out.v, Has: out.ok}, t)
	}
}
