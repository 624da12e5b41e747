package savepoint

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// homeRow and sessionRow have the fields of what window operators keep.
type (
	homeRow struct {
		HomeStart, HomeEnd int64
		Next               uint64
	}
	sessionRow struct{ Start, End, Timer, More, Acc int64 }
)

func bounds(start, end int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(start)^1<<63)
	return binary.BigEndian.AppendUint64(b, uint64(end)^1<<63)
}

// Windows that have merged, and sessions, are exported under the bounds that
// they have, not those under which they lie.
func TestExportOfWindowsThatMerge(t *testing.T) {
	t.Parallel()
	b := memstate.New(dataflow.KeyGroupsOf(0, 16, 1), 16)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := codec.Of[string]()
	must(err)
	ints, err := codec.Of[int64]()
	must(err)
	homes, err := codec.Of[homeRow]()
	must(err)
	sessions, err := codec.Of[sessionRow]()
	must(err)
	must(state.BindKey(b, keys.Schema()))
	records, err := state.RowTable(b, "windows", homes, true)
	must(err)
	sums, err := state.RowTable(b, "windows-accumulators", ints, true)
	must(err)
	visits, err := state.RowTable(b, "sessions", sessions, false)
	must(err)
	name, n := "ann", int64(7)
	key := state.KeyOf(keys.AppendKey(nil, &name))
	records.(state.SubTable).PutSub(0, key, bounds(-5, 90), homes.Append(nil, &homeRow{HomeStart: 10, HomeEnd: 40}))
	sums.(state.SubTable).PutSub(0, key, bounds(10, 40), ints.Append(nil, &n))
	sums.(state.SubTable).PutSub(0, key, bounds(100, 200), ints.Append(nil, &n))
	visits.Put(0, key, sessions.Append(nil, &sessionRow{Start: 500, End: 600, Acc: 3}))
	closed := state.KeyOf(append(bytes.Clone(key.Bytes[:len(key.Bytes)-1]), 'a'))
	visits.Put(0, closed, sessions.Append(nil, &sessionRow{Start: 1, End: 1}))

	sn, err := b.Snapshot(1)
	must(err)
	defer sn.Release()
	var file bytes.Buffer
	_, err = sn.WriteTo(&file)
	must(err)
	s := New(&checkpointv1.Manifest{
		CheckpointId: 1, Kind: checkpointv1.Kind_KIND_SAVEPOINT, MaxParallelism: 16,
		Operators: []*checkpointv1.Operator{{Id: operatorID, Uid: "visits"}},
		Handles:   []*controlv1.StateHandle{{OperatorId: operatorID, Kind: controlv1.StateKind_STATE_KIND_KEYED, Inline: file.Bytes(), KeyGroupLast: 15}},
	}, memstore.New(clock.Real{}))
	var got []string
	sum, err := s.Export(t.Context(), Query{}, func(e *Entry) error {
		got = append(got, string(e.AppendLine(nil)))
		return nil
	})
	must(err)
	slices.Sort(got)
	want := []string{
		`{"operator":"visits","state":"sessions","kind":"session","key":"ann","window":500,"windowEnd":600,"value":3}` + "\n",
		`{"operator":"visits","state":"windows-accumulators","kind":"window","key":"ann","window":-5,"windowEnd":90,"value":7}` + "\n",
		`{"operator":"visits","state":"windows-accumulators","kind":"window","key":"ann","window":100,"windowEnd":200,"value":7}` + "\n",
	}
	if !slices.Equal(got, want) || !slices.Equal(sum.LeftOut, []string{"visits/windows"}) {
		t.Errorf("%q, %q left out\nwant %q", got, sum.LeftOut, want)
	}
}
