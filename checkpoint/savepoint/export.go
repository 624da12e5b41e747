package savepoint

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state/statefile"
	"github.com/leatstream/leat/state/stateform"
)

// Query says what to export.
type Query struct {
	// Operator is a UID, name or id; "" is all.
	Operator string
	// State is the name of a table; "" is all.
	State string
	// GatherBytesMax bounds what is held in memory of state that lies in several
	// files; 0: 32 MiB of it.
	GatherBytesMax int64
}

// gatherBytesMax is the default of Query.GatherBytesMax.
const gatherBytesMax = 32 << 20

// Kinds of entries that are no table of the user's.
const (
	KindEventTimer      = "event-timer"
	KindProcessingTimer = "processing-timer"
)

// Entry is one of keyed state. All but the names is JSON.
type Entry struct {
	Operator string          `json:"operator"`
	State    string          `json:"state"`
	Kind     string          `json:"kind"`
	Key      json.RawMessage `json:"key"`
	// KeyBytes is the key where the state does not say of what type it is.
	KeyBytes []byte `json:"keyBytes,omitempty"`
	// Window is the start of the window, or another namespace that is not 0;
	// WindowEnd its end where the state tells it. Both in milliseconds.
	Window    *int64          `json:"window,omitempty"`
	WindowEnd *int64          `json:"windowEnd,omitempty"`
	MapKey    json.RawMessage `json:"mapKey,omitempty"`
	// Time is when a timer fires, in milliseconds.
	Time  *int64          `json:"time,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// AppendLine appends the entry as a line of JSON, as json.Marshal writes it but
// for a new line at the end.
func (e *Entry) AppendLine(dst []byte) []byte {
	dst = appendText(append(dst, `{"operator":`...), e.Operator)
	dst = appendText(append(dst, `,"state":`...), e.State)
	dst = appendText(append(dst, `,"kind":`...), e.Kind)
	dst = append(append(dst, `,"key":`...), e.Key...)
	if len(e.KeyBytes) > 0 {
		dst = appendText(append(dst, `,"keyBytes":`...), base64.StdEncoding.EncodeToString(e.KeyBytes))
	}
	dst = appendNumber(dst, `,"window":`, e.Window)
	dst = appendNumber(dst, `,"windowEnd":`, e.WindowEnd)
	if len(e.MapKey) > 0 {
		dst = append(append(dst, `,"mapKey":`...), e.MapKey...)
	}
	dst = appendNumber(dst, `,"time":`, e.Time)
	if len(e.Value) > 0 {
		dst = append(append(dst, `,"value":`...), e.Value...)
	}
	return append(dst, "}\n"...)
}

func appendNumber(dst []byte, name string, n *int64) []byte {
	if n == nil {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), *n, 10)
}

// appendText quotes a name; those that need an escape are rare.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			b, _ := json.Marshal(s) // a text always marshals
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// Lines returns a function for Export that writes each entry as a line to w.
func Lines(w io.Writer) func(*Entry) error {
	var line []byte
	return func(e *Entry) error {
		line = e.AppendLine(line[:0])
		_, err := w.Write(line)
		return err
	}
}

// Exported says what an export was.
type Exported struct {
	Entries int64
	// LeftOut are the tables that only the engine needs, as "operator/table".
	LeftOut []string
}

// Export calls fn for each entry of keyed state, timers included, by operator
// and old subtask; within that in no order that means something. Memory does
// not grow with the state: a file that is whole is read as a stream, state that
// lies in several files a few key groups at a time. The entry is borrowed by
// fn, whose error ends the export. After an error what was exported is a part.
func (s *Snapshot) Export(ctx context.Context, q Query, fn func(*Entry) error) (Exported, error) {
	if q.GatherBytesMax <= 0 {
		q.GatherBytesMax = gatherBytesMax
	}
	ops, err := s.named(q.Operator)
	if err != nil {
		return Exported{}, err
	}
	x := &exporter{s: s, ctx: ctx, q: q, fn: fn, leftOut: make(map[string]bool), states: make(map[string]bool)}
	for i := range ops {
		x.op = &ops[i]
		for _, files := range s.chains(x.op.ID) {
			if err := x.chain(files); err != nil {
				return x.result(), err
			}
		}
	}
	if q.State != "" && !x.states[q.State] {
		return x.result(), fmt.Errorf("%w: there is no state %q; there is: %s", ErrNoSuch, q.State, strings.Join(slices.Sorted(maps.Keys(x.states)), ", "))
	}
	return x.result(), nil
}

// exporter is an export under way.
type exporter struct {
	s   *Snapshot
	ctx context.Context //nolint:containedctx // of the Export call
	q   Query
	fn  func(*Entry) error
	op  *Operator

	entries int64
	leftOut map[string]bool
	states  map[string]bool // that there are
}

func (x *exporter) result() Exported {
	return Exported{Entries: x.entries, LeftOut: slices.Sorted(maps.Keys(x.leftOut))}
}

// chain exports the files of one old subtask.
func (x *exporter) chain(files []*controlv1.StateHandle) error {
	h, err := x.s.header(x.ctx, files[len(files)-1])
	if err != nil {
		return err
	}
	// What windows have merged is known when all of their key is.
	merged := slices.ContainsFunc(descriptors(h), stateform.IsHomes)
	if len(files) == 1 && h.Base == 0 && !merged {
		return x.stream(files[0])
	}
	held := dataflow.KeyGroupRange{First: dataflow.KeyGroup(files[0].GetKeyGroupFirst()), Last: dataflow.KeyGroup(files[0].GetKeyGroupLast())}
	if g, missing := chain.Missing(files, held); missing {
		return located(files[0], fmt.Errorf("%w: no file of the chain holds all of key group %d", statefile.ErrCorrupt, g))
	}
	return x.gather(files, held)
}

func descriptors(h statefile.Header) []string {
	var out []string
	for _, d := range h.Tables {
		out = append(out, d.Schema)
	}
	return out
}

// stream exports a file that is all there is, as it is read.
func (x *exporter) stream(h *controlv1.StateHandle) error {
	f := x.s.open(x.ctx, h)
	defer f.close()
	r, err := statefile.NewReader(f)
	if err != nil {
		return located(h, err)
	}
	v := &direct{maxParallelism: r.Header().MaxParallelism}
	sh := x.shower(r.Header().Tables, nil)
	for i := range r.Header().Tables {
		v.tables = append(v.tables, sh.tables[i])
	}
	var entries int64
	for {
		s, err := r.Next(r.Header().Groups)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return located(h, err)
		}
		v.group = s.Group
		n, err := r.Header().Parse(s, v)
		if err != nil {
			return located(h, err)
		}
		entries += n
	}
	if entries != r.Entries() {
		return located(h, fmt.Errorf("%w: end mark counts %d entries, found %d", statefile.ErrCorrupt, r.Entries(), entries))
	}
	return nil
}

// direct is the statefile.Visitor of stream.
type direct struct {
	tables         []*shown
	group          dataflow.KeyGroup
	maxParallelism int
}

var _ statefile.Visitor = (*direct)(nil)

// Entry implements statefile.Visitor.
func (v *direct) Entry(table int, ns int64, key, val []byte) error {
	return v.SubEntry(table, ns, key, nil, val)
}

// SubEntry implements statefile.Visitor.
func (v *direct) SubEntry(table int, ns int64, key, sub, val []byte) error {
	if _, err := statefile.KeyIn(key, v.group, v.maxParallelism); err != nil {
		return err
	}
	return v.tables[table].entry(ns, key, sub, val)
}

// GroupValue implements statefile.Visitor: those are the engine's own.
func (v *direct) GroupValue(string, []byte) error { return nil }
