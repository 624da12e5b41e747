package statetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// byHand writes a file with a base, of the tables of descriptors().
func byHand(t *testing.T, h statefile.Header, entries int64, bodies map[dataflow.KeyGroup][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	h.MaxParallelism = suiteGroups
	if h.Tables == nil {
		h.Tables = descriptors()
	}
	if h.Groups.Len() == 1 {
		h.Groups = whole()
	}
	w, err := statefile.NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	var sections []statefile.Section
	for g := range dataflow.KeyGroup(suiteGroups) {
		if b := bodies[g]; b != nil {
			sections = append(sections, statefile.Section{Group: g, Body: b})
		}
	}
	if err := w.Chunk(sections); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(entries); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// noGroups is a range that holds nothing.
func noGroups() dataflow.KeyGroupRange { return dataflow.KeyGroupRange{First: 1, Last: 0} }

// only is what is read of a key group.
func only(g ...dataflow.KeyGroup) (part []dataflow.KeyGroupRange) {
	part = []dataflow.KeyGroupRange{}
	for _, g := range g {
		part = append(part, dataflow.KeyGroupRange{First: g, Last: g})
	}
	return part
}

// testChain restores a whole file, one that changes it, and one that is whole
// for a key group.
func testChain(t *testing.T, f Factory) {
	w := newWorld(t, NewReference, 1, suiteGroups, 1)
	defer w.close()
	a, b := key("a"), key("b")
	ga, gb := a.Group(suiteGroups), b.Group(suiteGroups)
	w.parts[0].SetGroupValue("bound", ga, []byte("old"))
	w.parts[0].SetGroupValue("bound", gb, []byte("stays"))
	for _, k := range []state.Key{a, b} {
		w.tables[0][0].Put(3, k, []byte("0123456789abcdef"))
		w.tables[0][1].Put(0, k, []byte("old"))
		w.tables[0][1].Put(7, k, []byte("dropped"))
		for _, sub := range []string{"1", "2", "3"} {
			w.tables[0][2].(state.SubTable).PutSub(0, k, []byte(sub), []byte(sub))
		}
	}
	first := file(t, w)

	changes := statefile.AppendResetValues(nil)
	changes = statefile.AppendGroupValue(changes, "bound", nil)
	changes = statefile.AppendDeletedKey(statefile.AppendDeleted(changes, 0, 3, 1), a.Bytes)
	changes = statefile.AppendDeletedKey(statefile.AppendDeletedSubs(changes, 2, 0, a.Bytes, 1), []byte("1"))
	changes = statefile.AppendEntry(statefile.AppendEntries(changes, 1, 0, 1), 0, a.Bytes, []byte("new"))
	changes = statefile.AppendSubEntries(changes, 2, 0, a.Bytes, 3)
	for _, sub := range []string{"2", "4", "5"} {
		changes = statefile.AppendSubEntry(changes, []byte(sub), []byte("new"))
	}
	gone := statefile.AppendDeletedKey(statefile.AppendDeleted(nil, 2, 0, 1), b.Bytes)
	second := byHand(t, statefile.Header{Checkpoint: 5, Base: 1, Whole: noGroups(), Dropped: []statefile.Namespace{{Table: 1, NS: 7}}}, 7,
		map[dataflow.KeyGroup][]byte{ga: changes, gb: gone})
	all := statefile.AppendEntry(statefile.AppendEntries(nil, 1, 0, 1), 0, b.Bytes, []byte("whole"))
	third := byHand(t, statefile.Header{Checkpoint: 6, Base: 5, Whole: only(gb)[0]}, 1, map[dataflow.KeyGroup][]byte{gb: all})

	wantChain(t, f, [][]byte{first, second}, []state.RestorePart{{}, {Follows: true}}, `fixed 3 "b": 30313233343536373839616263646566
group 120: 
group 56: 7374617973
maps 0 "a": ["2"=6e6577 "3"=33 "4"=6e6577 "5"=6e6577]
varied 0 "a": 6e6577
varied 0 "b": 6f6c64`)
	wantChain(t, f, [][]byte{first, second, third}, []state.RestorePart{{Groups: only(ga)}, {Follows: true, Groups: only(ga)}, {Follows: true}}, `group 120: 
maps 0 "a": ["2"=6e6577 "3"=33 "4"=6e6577 "5"=6e6577]
varied 0 "a": 6e6577
varied 0 "b": 77686f6c65`)
	wantChain(t, f, [][]byte{third}, []state.RestorePart{{Groups: only(gb)}}, `varied 0 "b": 77686f6c65`)
	testChainRefused(t, f, first, second, third)
}

// testChainsApart restores two chains, of which one has dropped a namespace of a
// table that its first file does not know, and which the other still has.
func testChainsApart(t *testing.T, f Factory) {
	a := key("a")
	ga := a.Group(suiteGroups)
	hi, lo := dataflow.KeyGroupRange{First: 64, Last: 127}, dataflow.KeyGroupRange{First: 0, Last: 63}
	kept := statefile.AppendEntry(statefile.AppendEntries(nil, 1, 7, 1), 0, a.Bytes, []byte("kept"))
	wantChain(t, f, [][]byte{
		byHand(t, statefile.Header{Checkpoint: 6, Groups: hi}, 1, map[dataflow.KeyGroup][]byte{ga: kept}),
		byHand(t, statefile.Header{Checkpoint: 5, Groups: lo, Tables: descriptors()[:1]}, 0, nil),
		byHand(t, statefile.Header{Checkpoint: 6, Base: 5, Groups: lo, Whole: noGroups(), Dropped: []statefile.Namespace{{Table: 1, NS: 7}}}, 0, nil),
	}, []state.RestorePart{{}, {}, {Follows: true}}, `varied 7 "a": 6b657074`)
}

func testChainRefused(t *testing.T, f Factory, first, second, third []byte) {
	t.Helper()
	for want, files := range map[string][][]byte{
		"follows that of 1": {first, third},
		"was not restored":  {second},
		"follows nothing":   {first, first},
	} {
		b := f(whole(), suiteGroups)
		defer b.Close()
		var err error
		for i, file := range files {
			err = b.Restore(bytes.NewReader(file), state.RestorePart{Follows: i > 0})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func wantChain(t *testing.T, f Factory, files [][]byte, parts []state.RestorePart, want string) {
	t.Helper()
	b := f(whole(), suiteGroups)
	defer b.Close()
	for i, file := range files {
		if err := b.Restore(bytes.NewReader(file), parts[i]); err != nil {
			t.Fatal(err)
		}
	}
	got := dumpTables(openTables(t, b), b)
	slices.Sort(got)
	if d := diff(got, strings.Split(want, "\n")); d != "" {
		t.Errorf("%d files: %s", len(files), d)
	}
}
