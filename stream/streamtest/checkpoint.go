package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
)

// saved is a checkpoint: all bytes of all operators.
type saved struct {
	id          dataflow.CheckpointID
	operator    map[dataflow.OperatorID][][]byte
	keyed       map[dataflow.OperatorID][][]byte
	coordinator map[dataflow.OperatorID][]byte
	// watermark is the least one of an operator's subtasks; ended says that
	// all of them have ended.
	watermark map[dataflow.OperatorID]int64
	ended     map[dataflow.OperatorID]bool
	feeds     map[string][]feedSplit
	taken     map[port][]int // rows of each capture
}

// checkpoint snapshots everything between two steps, when nothing is under
// way, and commits it at once.
func (r *runner) checkpoint(final bool) error {
	s, err := r.snapshot(final)
	if err != nil {
		return err
	}
	r.saved = s
	return r.life.protect(func() error { return r.life.commit(s.id) })
}

// snapshot is a checkpoint that is not committed yet.
func (r *runner) snapshot(final bool) (s *saved, err error) {
	err = r.life.protect(func() error {
		s, err = r.save(final)
		return err
	})
	return s, err
}

func (r *runner) save(final bool) (*saved, error) {
	r.lastID++
	cp := operators.Checkpoint{ID: r.lastID, Final: final}
	s := &saved{
		id:        cp.ID,
		watermark: make(map[dataflow.OperatorID]int64), ended: make(map[dataflow.OperatorID]bool),
		feeds: make(map[string][]feedSplit), taken: make(map[port][]int),
		operator: make(map[dataflow.OperatorID][][]byte), keyed: make(map[dataflow.OperatorID][][]byte),
		coordinator: make(map[dataflow.OperatorID][]byte),
	}
	for _, c := range r.life.coords {
		b, err := c.op.Snapshot(cp.ID)
		if err != nil {
			return nil, err
		}
		s.coordinator[c.node.ID] = bytes.Clone(b)
	}
	for _, t := range r.life.all {
		if !t.call(func() error { return t.snapshot(cp, s) }) {
			return nil, r.life.err
		}
	}
	for _, f := range r.feeds {
		s.feeds[f.uid] = f.positions()
	}
	for at, all := range r.captures {
		for _, c := range all {
			s.taken[at] = append(s.taken[at], c.len())
		}
	}
	r.figures.Checkpoints++
	return s, nil
}

func (s *subtask) snapshot(cp operators.Checkpoint, to *saved) error {
	if wm, ok := to.watermark[s.node.ID]; !ok || s.emitted < wm {
		to.watermark[s.node.ID] = s.emitted
	}
	if ended, ok := to.ended[s.node.ID]; !ok || ended {
		to.ended[s.node.ID] = s.ended
	}
	if d, ok := s.op.(operators.SnapshotDecliner); ok {
		if err := d.CanSnapshot(); err != nil {
			return err
		}
	}
	if o, ok := s.op.(operators.Snapshotter); ok {
		b, err := o.Snapshot(cp)
		if err != nil {
			return err
		}
		to.operator[s.node.ID] = append(to.operator[s.node.ID], bytes.Clone(b))
	}
	if s.state == nil {
		return nil
	}
	frozen, err := s.state.Snapshot(cp.ID)
	if err != nil {
		return err
	}
	defer frozen.Release()
	var buf bytes.Buffer
	if _, err := frozen.WriteTo(&buf); err != nil {
		return err
	}
	to.keyed[s.node.ID] = append(to.keyed[s.node.ID], buf.Bytes())
	return nil
}

// commit tells the operators and waits until sinks have confirmed.
func (l *life) commit(id dataflow.CheckpointID) error {
	for _, s := range l.all {
		if c, ok := s.op.(operators.CheckpointListener); ok {
			if !s.call(func() error { return c.CheckpointCommitted(id) }) {
				return l.err
			}
		}
	}
	for _, c := range l.coords {
		if o, ok := c.op.(operators.CheckpointListener); ok {
			if err := o.CheckpointCommitted(id); err != nil {
				return err
			}
		}
	}
	return l.await(func() string {
		for _, s := range l.all {
			if c, ok := s.op.(operators.Committer); ok && c.Uncommitted() > 0 {
				return fmt.Sprintf("operator %q has not confirmed what checkpoint %d holds", s.node.UID, id)
			}
		}
		return ""
	})
}

// coordinator is that of one source.
type coordinator struct {
	node *graph.Node
	op   operators.Coordinator
}

func (l *life) newCoordinator(n *graph.Node, f operators.CoordinatorFactory, from *saved) (*coordinator, error) {
	subs := l.byNode[n.ID]
	ctx := &operators.CoordinatorContext{
		Info:        dataflow.TaskInfo{Job: "test", JobName: l.run.graph.Name, Operator: n.ID, UID: n.UID, Name: n.Name},
		Parallelism: len(subs), Clock: l.run.clock, Log: l.run.opt.Log, Mail: l.post,
		Send: func(to int, payload []byte) {
			p := bytes.Clone(payload)
			l.post(func() error { return subs[to].source.HandleEvent(p) })
		},
		Async: func(fn func() error, done func(error) error) {
			err := fn()
			l.post(func() error { return done(err) })
		},
		After: func(millis int64, fn func() error) {
			l.at(l.run.clock.Now().UnixMilli()+millis, fn)
		},
		WantCheckpoint: func() { l.wanted = true },
	}
	if from != nil {
		ctx.Restored = from.coordinator[n.ID]
	}
	op, err := f.NewCoordinator(ctx)
	if err != nil {
		return nil, err
	}
	c := &coordinator{node: n, op: op}
	l.coords = append(l.coords, c)
	return c, nil
}

func (l *life) toCoordinator(s *subtask, payload []byte) {
	l.post(func() error {
		for _, c := range l.coords {
			if c.node.ID == s.node.ID {
				return c.op.HandleEvent(s.index, payload)
			}
		}
		return errors.New("event for a coordinator that does not exist")
	})
}

// metrics keeps the counters of a subtask.
type metrics struct {
	mu       sync.Mutex
	counters map[string]*counter       // guarded by mu
	gauges   map[string]func() float64 // guarded by mu
}

func newMetrics() *metrics {
	return &metrics{counters: make(map[string]*counter), gauges: make(map[string]func() float64)}
}

// Counter implements operators.Metrics.
func (m *metrics) Counter(name string) operators.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counters[name]
	if c == nil {
		c = &counter{}
		m.counters[name] = c
	}
	return c
}

// Gauge implements operators.Metrics.
func (m *metrics) Gauge(name string, read func() float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges[name] = read
}

// gauge reads one.
func (m *metrics) gauge(name string) (v float64, ok bool) {
	m.mu.Lock()
	read := m.gauges[name]
	m.mu.Unlock()
	if read == nil {
		return 0, false
	}
	return read(), true
}

func (m *metrics) values() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]int64)
	for name, c := range m.counters {
		out[name] = c.Value()
	}
	return out
}

type counter struct {
	mu sync.Mutex
	n  int64 // guarded by mu
}

// Add implements operators.Counter.
func (c *counter) Add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

// Value implements operators.Counter.
func (c *counter) Value() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
