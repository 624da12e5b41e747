package stream

import (
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
)

func pairingOf[L, R, O any](j joining[L, R, O]) changelog.Pairing[L, R, O] {
	return changelog.Pairing[L, R, O]{Left: j.kind.Left, Right: j.kind.Right, Func: j.match.Func}
}

// JoinTables joins two tables of the same keys into a third, which changes
// when either does. The joiner must give the same for the same rows: it is
// called for the rows before a change, too. A result has the event time of
// the change that made it. It is stateful.
func JoinTables[K comparable, L, R, O any](left *Table[K, L], right *Table[K, R], joiner Joiner[L, R, O], opts ...Option) *Table[K, O] {
	const what = "a join of tables"
	where := callSite()
	e := left.env()
	same := sameEnv(where, what, e, right.env())
	j, has := joinerOf(e, where, what, joiner)
	lefts, ok1 := valuesOf[L](e, where)
	rights, ok2 := valuesOf[R](e, where)
	values, ok3 := valuesOf[O](e, where)
	lk, ok4 := keysOf(left.changes)
	rk, ok5 := keysOf(right.changes)
	var f operators.Factory
	if same && has && ok1 && ok2 && ok3 && ok4 && ok5 {
		f = changelog.Join(changelog.JoinConfig[K, L, R, O]{
			Left: lk, Right: rk, Lefts: lefts, Rights: rights, Values: values, Pair: pairingOf(j),
		})
	}
	s := tableStep{op: "table-table-join", where: where, detail: j.name, factory: f, stateful: true}
	return addTable[K, O](e, s, []input{left.in(), right.in()}, timingOfBoth(left.untimed(), right.untimed()), opts)
}

// JoinForeign joins each row of the left table with the row of the right one
// that it points at: foreign says at which, and with false that it points at
// none. The result has the left table's keys, and changes when either side
// does; when a left row turns to another right row there is one change. Both
// functions must give the same for the same rows. It is three operators that
// are stateful, whose UIDs begin with the one given.
func JoinForeign[K comparable, L any, F comparable, R, O any](left *Table[K, L], right *Table[F, R], foreign func(L) (F, bool), joiner LeftJoiner[L, R, O], opts ...Option) *Table[K, O] {
	const what = "a join by foreign key"
	where := callSite()
	e := left.env()
	ok := sameEnv(where, what, e, right.env())
	if foreign == nil {
		e.fail(where, "the function that finds the foreign key of a join is nil")
		ok = false
	}
	j, has := joinerOf[L, R, O](e, where, what, joiner)
	rights, ok1 := valuesOf[R](e, where)
	values, ok2 := valuesOf[O](e, where)
	ok = ok && has && ok1 && ok2 && left.changes.codec != nil && right.changes.codec != nil
	untimed := timingOfBoth(left.untimed(), right.untimed())
	at := partOf(e, where, "foreign-key-join", opts)

	var f operators.Factory
	if ok {
		f = changelog.Subscribe[K](foreign)
	}
	first := foreignPart[changelog.Subscription[F, K, L]](e, at, "subscribe", f, untimed, left.in())
	subscriptions := KeyBy(first, changelog.To[F, K, L])
	versions := KeyBy(side[changelog.Version[K]](first, changelog.SideVersions, where), changelog.VersionKey[K])

	f = nil
	subKeys, _ := keysOf(subscriptions)
	rightKeys, _ := keysOf(right.changes)
	if ok {
		f = changelog.Serve(changelog.ServeConfig[F, K, L, R, O]{
			Subscriptions: subKeys, Rights: rightKeys, RightCodec: rights, Pair: pairingOf(j),
		})
	}
	second := foreignPart[changelog.Answer[K, O]](e, at, "serve", f, untimed, subscriptions.stream.in(), right.in())
	answers := KeyBy(second, changelog.AnswerKey[K, O])

	f = nil
	versionKeys, _ := keysOf(versions)
	answerKeys, _ := keysOf(answers)
	if ok {
		f = changelog.Resolve(changelog.ResolveConfig[K, O]{Versions: versionKeys, Answers: answerKeys, Values: values})
	}
	return asTable(foreignPart[Change[K, O]](e, at, "resolve", f, untimed, versions.stream.in(), answers.stream.in()))
}

// part is what the operators of one step have in common.
type part struct {
	op, uid, where string
	opts           []Option
}

// partOf finds the UID that the operators of one step share.
func partOf(e *Env, where, op string, opts []Option) part {
	var n graph.Node
	for _, o := range opts {
		o.applyNode(&n)
	}
	if n.UID == "" {
		e.fail(where, "%s has state and needs a name for good: add stream.UID(%q)", op, op)
		n.UID = op
	}
	return part{op: op, uid: n.UID, where: where, opts: opts}
}

// foreignPart appends one operator of a join by foreign key.
func foreignPart[O any](e *Env, p part, name string, f operators.Factory, untimed timing, ins ...input) *DataStream[O] {
	out := rowTypeOf[O](e, p.where)
	s := step{
		op: p.op + "-" + name, kind: graph.KindOperator, factory: f, stateful: true, keyed: true, out: out, where: p.where,
	}
	opts := append(append([]Option(nil), p.opts...), UID(p.uid+"/"+name))
	return then[O](e, e.addInputs(s, ins, opts), out, untimed)
}
