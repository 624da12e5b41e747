package rowop

import (
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
	"github.com/leatstream/leat/state"
)

// Processor is user code over keyed rows, with state and timers. All methods
// are called on one goroutine for a subtask. An error fails the attempt. One
// that has a Close method (io.Closer) is closed at the end of the subtask,
// also after an error, once Open was called.
type Processor[K comparable, T, R any] interface {
	// Open is called once, before any row; state handles are made here.
	Open(ctx *Context[K, R]) error
	// Process is called for each row. ctx and what v refers to are valid
	// during the call only; state copies what it keeps.
	Process(ctx *Context[K, R], v T) error
}

// TimerProcessor is a Processor that sets timers.
type TimerProcessor[K comparable, R any] interface {
	// OnTimer is called when a timer is due, with its key as the current one.
	OnTimer(ctx *Context[K, R], t Timer) error
}

// Timer is one that is due.
type Timer struct {
	// At is the time it was set to.
	At time.Time
	// Processing tells a processing-time timer from an event-time timer.
	Processing bool
}

// CoProcessor is user code over the rows of two keyed streams that share keys,
// state and timers. As for a Processor otherwise.
type CoProcessor[K comparable, A, B, R any] interface {
	// Open is called once, before any row; state handles are opened here.
	Open(ctx *Context[K, R]) error
	// ProcessFirst is called for each row of the first stream.
	ProcessFirst(ctx *Context[K, R], v A) error
	// ProcessSecond is called for each row of the second stream.
	ProcessSecond(ctx *Context[K, R], v B) error
}

// BroadcastProcessor is user code over the rows of a keyed stream, with rows
// of another stream that every subtask gets. As for a Processor otherwise.
type BroadcastProcessor[K comparable, T, B, R any] interface {
	// Open is called once, before any row; state handles are opened here.
	Open(ctx *Context[K, R]) error
	// Process is called for each row of the keyed stream. It reads broadcast
	// state.
	Process(ctx *Context[K, R], v T) error
	// ProcessBroadcast is called in each subtask for each row of the broadcast
	// stream. It writes broadcast state, as a function of the row and that
	// state alone: then all subtasks agree.
	ProcessBroadcast(ctx *KeyedBroadcastContext[K, R], v B) error
}

// ProcessConfig describes one input of a keyed process operator.
type ProcessConfig[K comparable, T any] struct {
	// Key returns the key of a row.
	Key func(T) K
	// Hasher makes the hashes of keys, a batch at a time.
	Hasher columnar.KeyHasher
	// KeyCodec is the form of keys in state.
	KeyCodec *codec.Codec[K]
}

// Process returns the factory of an operator that runs a processor, made anew
// for each subtask.
func Process[K comparable, T, R any](cfg ProcessConfig[K, T], processor func() Processor[K, T, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		return newKeyed(cfg.KeyCodec, user, user.Open, keyedInput(cfg, user.Process))
	})
}

// CoProcess returns the factory of an operator of two keyed inputs.
func CoProcess[K comparable, A, B, R any](a ProcessConfig[K, A], b ProcessConfig[K, B], processor func() CoProcessor[K, A, B, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		return newKeyed(a.KeyCodec, user, user.Open, keyedInput(a, user.ProcessFirst), keyedInput(b, user.ProcessSecond))
	})
}

// BroadcastProcess returns the factory of an operator whose second input is
// given to every subtask.
func BroadcastProcess[K comparable, T, B, R any](cfg ProcessConfig[K, T], processor func() BroadcastProcessor[K, T, B, R]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		user := processor()
		return newKeyed(cfg.KeyCodec, user, user.Open, keyedInput(cfg, user.Process), broadcastInput(user.ProcessBroadcast))
	})
}

// keyedRows is a hash-partitioned input.
type keyedRows[K comparable, T, R any] struct {
	cfg    ProcessConfig[K, T]
	call   func(ctx *Context[K, R], v T) error
	hashes []uint64
	// What is known ahead of the next rows, see aheadRows.
	keys  []K
	ahead []state.Key
	enc   []byte
}

// aheadRows is how many rows' keys state is told of before the first of these
// rows is worked on: many enough for the misses of their reads to overlap, few
// enough for what was read to be in the processor's cache still.
const aheadRows = 128

func keyedInput[K comparable, T, R any](cfg ProcessConfig[K, T], call func(*Context[K, R], T) error) keyedSide[K, R] {
	return &keyedRows[K, T, R]{cfg: cfg, call: call}
}

// process implements keyedSide.
func (in *keyedRows[K, T, R]) process(o *keyed[K, R], b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.age(len(rows))
	in.hashes = in.cfg.Hasher.HashRows(in.hashes[:0], b.Rows)
	ctx := &o.ctx
	for i := range rows {
		if i%aheadRows == 0 {
			in.look(o, rows, i)
		}
		o.cursor.at = i
		ctx.key = in.keys[i%aheadRows]
		ctx.keyed.SetKey(in.ahead[i%aheadRows])
		ctx.at(b, i)
		ctx.keyed.SetRowTime(ctx.time)
		if ctx.tray == nil {
			if err := ctx.settle(in.call(ctx, rows[i])); err != nil {
				return err
			}
			continue
		}
		o.begin()
		if err := ctx.settle(in.call(ctx, rows[i])); err != nil {
			o.failed(setaside.Record{Row: rows[i], Key: ctx.key, Origin: b.Origin, At: i, Time: ctx.time}, err)
			continue
		}
		ctx.done()
	}
	clear(in.keys)
	return nil
}

// look finds the keys of the rows from a place on and tells state of them.
func (in *keyedRows[K, T, R]) look(o *keyed[K, R], rows []T, from int) {
	n := min(aheadRows, len(rows)-from)
	if in.keys == nil {
		in.keys, in.ahead = make([]K, aheadRows), make([]state.Key, aheadRows)
	}
	in.enc = in.enc[:0]
	for i := range n {
		o.cursor.at = from + i
		in.keys[i] = in.cfg.Key(rows[from+i])
		at := len(in.enc)
		in.enc = in.cfg.KeyCodec.AppendKey(in.enc, &in.keys[i])
		// A buffer that grows leaves its bytes to the keys before.
		in.ahead[i] = state.Key{Bytes: in.enc[at:len(in.enc):len(in.enc)], Hash: in.hashes[from+i]}
	}
	o.ctx.keyed.Prefetch(in.ahead[:n])
}

// broadcastRows is an input that every subtask gets.
type broadcastRows[K comparable, B, R any] struct {
	call func(ctx *KeyedBroadcastContext[K, R], v B) error
}

func broadcastInput[K comparable, B, R any](call func(*KeyedBroadcastContext[K, R], B) error) keyedSide[K, R] {
	return &broadcastRows[K, B, R]{call: call}
}

// process implements keyedSide.
func (in *broadcastRows[K, B, R]) process(o *keyed[K, R], b *columnar.Batch) error {
	ctx := &KeyedBroadcastContext[K, R]{BroadcastContext: BroadcastContext[R]{&o.ctx.RowContext}, each: o.forEachKey}
	rows := columnar.Rows[B](b)
	o.age(len(rows))
	o.keyless = true
	for i := range rows {
		o.cursor.at = i
		o.ctx.at(b, i)
		o.ctx.keyed.SetRowTime(o.ctx.time)
		err := o.run(func() error { return in.call(ctx, rows[i]) },
			func() setaside.Record { return setaside.Record{Row: rows[i], Origin: b.Origin, At: i, Time: b.Time(i)} })
		if err != nil {
			return err
		}
	}
	o.keyless = false
	return nil
}
