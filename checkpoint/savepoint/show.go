package savepoint

import (
	"fmt"
	"strings"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/stateform"
)

// shower makes entries out of the tables of one operator's file.
type shower struct {
	x      *exporter
	keys   *codec.Dynamic // nil: the type is not known
	homes  stateform.Homes
	tables []*shown
}

// shown is one table.
type shown struct {
	sh     *shower
	name   string
	form   stateform.Form
	ok     bool   // it is exported
	timers string // the kind of its timers, else ""
}

func (x *exporter) shower(tables []state.Descriptor, homes stateform.Homes) *shower {
	sh := &shower{x: x, homes: homes}
	for _, d := range tables {
		if schema, ok := stateform.KeySchema(d.Name, d.Schema); ok {
			sh.keys, _ = codec.DynamicOf(schema) // keys without form are shown as bytes
		}
	}
	for _, d := range tables {
		sh.tables = append(sh.tables, sh.table(d))
	}
	return sh
}

func (sh *shower) table(d state.Descriptor) *shown {
	t := &shown{sh: sh, name: d.Name}
	switch {
	case stateform.IsTimers(d.Schema) && strings.HasSuffix(d.Name, "/processing-timers"):
		t.timers = KindProcessingTimer
	case stateform.IsTimers(d.Schema):
		t.timers = KindEventTimer
	default:
		t.form, t.ok = stateform.Of(d.Name, d.Schema)
	}
	x := sh.x
	switch {
	case t.ok || t.timers != "":
		x.states[d.Name] = true
		t.ok = x.q.State == "" || x.q.State == d.Name
	case d.Name != state.KeyTable:
		x.leftOut[x.op.UID+"/"+d.Name] = true
	}
	return t
}

// entry exports one entry, or the timers of a key.
func (t *shown) entry(ns int64, key, sub, val []byte) error {
	if !t.ok {
		return nil
	}
	e := Entry{Operator: t.sh.x.op.UID, State: t.name, Kind: t.form.Kind()}
	if err := t.sh.key(&e, key); err != nil {
		return t.fault(err)
	}
	if t.timers != "" {
		return t.timed(&e, val)
	}
	var err error
	if e.MapKey, e.Value, err = t.form.Texts(sub, val); err != nil {
		return t.fault(err)
	}
	if ns != 0 || e.Kind == stateform.KindWindow {
		e.Window = &ns
	}
	switch e.Kind {
	case stateform.KindSession:
		start, end, acc, open, err := stateform.Session(e.Value)
		if err != nil {
			return t.fault(err)
		}
		if !open {
			return nil
		}
		e.Window, e.WindowEnd, e.Value = &start, &end, acc
	case stateform.KindWindow:
		if start, end, ok := t.sh.homes.Window(key, sub); ok {
			e.Window, e.WindowEnd = &start, &end
		}
	}
	return t.sh.emit(&e)
}

// timed exports the timers of a key.
func (t *shown) timed(e *Entry, val []byte) error {
	e.Kind = t.timers
	return stateform.Timers(val, func(time, ns int64) error {
		e.Time, e.Window = &time, nil
		if ns != 0 {
			e.Window = &ns
		}
		return t.sh.emit(e)
	})
}

func (t *shown) fault(err error) error {
	return fmt.Errorf("state %q of operator %q: %w", t.name, t.sh.x.op.UID, err)
}

func (sh *shower) key(e *Entry, key []byte) (err error) {
	if sh.keys == nil {
		e.Key, e.KeyBytes = []byte("null"), key
		return nil
	}
	e.Key, err = sh.keys.AppendKeyJSON(nil, key)
	return err
}

func (sh *shower) emit(e *Entry) error {
	if err := sh.x.ctx.Err(); err != nil {
		return err
	}
	sh.x.entries++
	return sh.x.fn(e)
}
