package rowop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
)

// SideEmitter is a context that rows of side outputs can be emitted through.
type SideEmitter interface {
	sides() (s *sideOutputs, time int64)
}

// EmitSide adds a row to the side output of that tag, with the time of the
// row or timer in work.
func EmitSide[S any](c SideEmitter, tag string, v S) {
	o, time := c.sides()
	f := o.byTag[tag]
	if f == nil {
		f = &side[S]{collector[S]{out: sideOutput{o.out, tag}, hold: o.hold}}
		if o.byTag == nil {
			o.byTag = make(map[string]flusher)
		}
		o.byTag[tag] = f
		o.order = append(o.order, f)
	}
	s := f.(*side[S])
	s.at(time, time != dataflow.TimeNone)
	s.add(v)
}

// sideOutputs are the side outputs in use.
type sideOutputs struct {
	out   operators.Output
	byTag map[string]flusher
	order []flusher // in order of first use
	hold  bool      // see collector
}

func (o *sideOutputs) flush() {
	for _, f := range o.order {
		f.flush()
	}
}

// flusher is a side output's collector.
type flusher interface {
	flush()
	mark()
	withdraw()
	spill()
}

type side[S any] struct{ collector[S] }

// sideOutput is an Output whose main output is a side output of another.
type sideOutput struct {
	operators.Output
	tag string
}

// Emit implements operators.Output.
func (o sideOutput) Emit(b *columnar.Batch) { o.EmitSide(o.tag, b) }
