package dispatcher

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

func TestTablesOfTheEngineAreNotShown(t *testing.T) {
	t.Parallel()
	if ts := addTable(nil, &controlv1.StateTable{Name: "window-counts", Schema: "uint64"}); len(ts) > 0 {
		t.Error("the numbers of records in windows are shown")
	}
	if ts := addTable(nil, &controlv1.StateTable{Name: "window-counts", Schema: "value uint64"}); len(ts) != 1 {
		t.Error("a state of the user's is not shown")
	}
}

// Sessions lie under no namespace that means a time: none is looked for, and
// they are shown with their bounds.
func TestSessionsAreNoWindowsByStart(t *testing.T) {
	t.Parallel()
	keys, err := codec.DynamicOf("string")
	if err != nil {
		t.Fatal(err)
	}
	at := int64(60_000)
	for _, c := range []struct {
		schema   string
		from, to *int64
		kind     string
		refused  bool
	}{
		{"{Start:int64,End:int64,Timer:int64,More:int64,Acc:int64}", nil, nil, "session", false},
		{"{Start:int64,End:int64,Timer:int64,More:int64,Acc:int64}", &at, nil, "session", true},
		{"{Start:int64,End:int64,Timer:int64,More:int64,Acc:int64}", nil, &at, "session", true},
		{"{Start:int64,End:int64}", &at, &at, "window", false},
		{"value {Start:int64,End:int64,Timer:int64,More:int64,Acc:int64}", &at, &at, "value", false},
	} {
		r := &stateRead{node: &graph.Node{UID: "visits", KeySchema: "string"}, keys: keys, query: jobview.StateQuery{From: c.from, To: c.to, Limit: 9}}
		out, err := r.result([]*controlv1.StateAnswer{{Tables: []*controlv1.StateTable{{Name: "sessions", Schema: c.schema}}}})
		if kind := out.Operators; !c.refused && (err != nil || kind[0].Tables[0].Kind != c.kind) {
			t.Errorf("%s: %v, error %v", c.schema, kind, err)
		}
		if c.refused && (err == nil || !strings.Contains(err.Error(), `state "sessions" of operator "visits" holds sessions`)) {
			t.Errorf("%s from %v to %v: error %v", c.schema, c.from, c.to, err)
		}
	}
}

// sessionRow has the fields of the window operator's sessions.
type sessionRow struct{ Start, End, Timer, More, Acc int64 }

// A session is shown by its window and its accumulator; what else the operator
// keeps of it is not, nor one that has closed.
func TestSessionsAreShownByTheirWindow(t *testing.T) {
	t.Parallel()
	keys, err := codec.DynamicOf("string")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := codec.Of[sessionRow]()
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.AppendKey(nil, []byte(`"ann"`))
	if err != nil {
		t.Fatal(err)
	}
	entry := func(table int32, s sessionRow) *controlv1.StateEntry {
		return &controlv1.StateEntry{Table: table, Key: key, Value: rows.Append(nil, &s)}
	}
	r := &stateRead{node: &graph.Node{UID: "visits", KeySchema: "string"}, keys: keys, query: jobview.StateQuery{Limit: 9}}
	out, err := r.result([]*controlv1.StateAnswer{{
		Tables:  []*controlv1.StateTable{{Name: "sessions", Schema: rows.Schema()}, {Name: "sessions-others", Schema: rows.Schema()}},
		Entries: []*controlv1.StateEntry{entry(0, sessionRow{0, 90, 80, 1, 7}), entry(0, sessionRow{0, 0, 0, 1, 0}), entry(1, sessionRow{500, 600, 9, 0, 3})},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range out.Entries {
		got = append(got, fmt.Sprintf("%s %s %d-%d %s", e.State, e.Key, e.Namespace, *e.WindowEnd, e.Value))
	}
	if want := []string{`sessions "ann" 0-90 7`, `sessions-others "ann" 500-600 3`}; !slices.Equal(got, want) {
		t.Errorf("shown %q, want %q", got, want)
	}
	if got := out.Operators[0].Tables[0].Schema; got != "int64" {
		t.Errorf("the type of what is shown is %s", got)
	}
	for _, bad := range []string{"7", `{"Start":1}`} {
		if _, err := showSession(&jobview.StateEntry{Value: []byte(bad)}); err == nil {
			t.Errorf("%s is shown as a session", bad)
		}
	}
}

// recordRow has the fields of what a window operator keeps beside the contents.
type recordRow struct {
	HomeStart, HomeEnd int64
	Next               uint64
}

func windowSub(start, end int64, more ...uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(start)^1<<63)
	b = binary.BigEndian.AppendUint64(b, uint64(end)^1<<63)
	for _, n := range more {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// Windows that are kept one by one are shown by their bounds, those that have
// merged by those that they have now; what is kept beside the contents is not.
func TestWindowsAreShownByTheirBounds(t *testing.T) {
	t.Parallel()
	keys, err := codec.DynamicOf("string")
	if err != nil {
		t.Fatal(err)
	}
	records, err := codec.Of[recordRow]()
	if err != nil {
		t.Fatal(err)
	}
	r := &stateRead{node: &graph.Node{UID: "visits", KeySchema: "string"}, keys: keys, query: jobview.StateQuery{Limit: 9}}
	key, err := keys.AppendKey(nil, []byte(`"ann"`))
	if err != nil {
		t.Fatal(err)
	}
	timed := append(make([]byte, 8), "\x02hi"...)
	answer := &controlv1.StateAnswer{
		Tables: []*controlv1.StateTable{{Name: "windows", Schema: records.Schema()}, {Name: "windows-accumulators", Schema: "string"}, {Name: "windows-elements", Schema: "string"}},
		Entries: []*controlv1.StateEntry{
			{Table: 0, Key: key, Sub: windowSub(-5, 90), Value: records.Append(nil, &recordRow{HomeStart: 10, HomeEnd: 40})},
			{Table: 1, Key: key, Sub: windowSub(10, 40), Value: []byte("\x02hi")},
			{Table: 1, Key: key, Sub: windowSub(100, 200), Value: []byte("\x02hi")},
			{Table: 2, Key: key, Sub: windowSub(10, 40, 3), Value: timed},
		},
	}
	out, err := r.result([]*controlv1.StateAnswer{answer})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range out.Entries {
		got = append(got, fmt.Sprintf("%s %s %d-%d %s%s", e.State, e.Key, e.Namespace, *e.WindowEnd, e.MapKey, e.Value))
	}
	if want := []string{`windows-accumulators "ann" -5-90 "hi"`, `windows-accumulators "ann" 100-200 "hi"`, `windows-elements "ann" -5-90 3"hi"`}; !slices.Equal(got, want) {
		t.Errorf("shown %q, want %q", got, want)
	}
	answer.Entries[3].Value = timed[:7]
	if _, err := r.result([]*controlv1.StateAnswer{answer}); err == nil {
		t.Error("a row without its time is shown")
	}
}
