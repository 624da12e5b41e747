package savepoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/pebblestate"
)

const (
	groupsOfJob = 64
	operatorID  = "00000000000000000000000000000a0a"
)

func backends(t *testing.T) map[string]func(dataflow.KeyGroupRange) state.Backend {
	return map[string]func(dataflow.KeyGroupRange) state.Backend{
		"memory": func(g dataflow.KeyGroupRange) state.Backend { return memstate.New(g, groupsOfJob) },
		"pebble": func(g dataflow.KeyGroupRange) state.Backend {
			s, err := pebblestate.Open(pebblestate.Config{Dir: filepath.Join(t.TempDir(), "db"), MemoryBytes: pebblestate.MemoryMin})
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.New(g, groupsOfJob)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := errors.Join(b.Close(), s.Close()); err != nil {
					t.Error(err)
				}
			})
			return b
		},
	}
}

// subtask is a task with state of each kind, and what an export must say of it.
type subtask struct {
	t       *testing.T
	index   int
	groups  dataflow.KeyGroupRange
	backend state.Backend
	keyed   *state.Keyed
	count   state.Value[int64]
	seen    state.Map[string, int32]
	words   state.List[string]
	sums    state.Table
	timers  state.Table
	keys    *codec.Codec[string]
	want    map[string]string // by what tells an entry from others
	chain   []*controlv1.StateHandle
}

func newSubtask(t *testing.T, index int, groups dataflow.KeyGroupRange, b state.Backend) *subtask {
	t.Helper()
	s := &subtask{t: t, index: index, groups: groups, backend: b, keyed: state.NewKeyed(b), want: make(map[string]string)}
	var err error
	s.keys, err = codec.Of[string]()
	ints, err2 := codec.Of[int64]()
	err = errors.Join(err, err2, state.BindKey(b, s.keys.Schema()), s.count.Open(s.keyed, "count"), s.seen.Open(s.keyed, "seen"), s.words.Open(s.keyed, "words"))
	if err != nil {
		t.Fatal(err)
	}
	if s.sums, err = state.RowTable(b, "sums", ints, false); err != nil {
		t.Fatal(err)
	}
	if s.timers, err = b.Table(state.Descriptor{Name: "timers/event-timers", Schema: "timers 1: pairs"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// set changes the state of a key at random, and what is expected.
func (s *subtask) set(rnd *rand.Rand, name string) {
	key := state.KeyOf(s.keys.AppendKey(nil, &name))
	s.keyed.SetKey(key)
	s.keyed.SetNamespace(0)
	n := rnd.Int64N(1000)
	id := fmt.Sprint(rnd.IntN(3))
	ns := rnd.Int64N(4) * 60_000
	line := func(state, kind, more string) string {
		return fmt.Sprintf(`{"operator":"counts","state":%q,"kind":%q,"key":%q%s}`, state, kind, name, more)
	}
	switch rnd.IntN(9) {
	case 0:
		s.count.Clear()
		delete(s.want, "count "+name)
	case 1:
		s.seen.Clear()
		maps.DeleteFunc(s.want, func(k, _ string) bool { return strings.HasPrefix(k, "seen "+name+" ") })
	case 2:
		s.sums.DropNamespace(ns)
		maps.DeleteFunc(s.want, func(k, _ string) bool { return strings.HasSuffix(k, fmt.Sprint(" in ", ns)) })
	case 3:
		s.seen.Delete(id)
		delete(s.want, "seen "+name+" "+id)
	case 4:
		s.seen.Put(id, int32(n))
		s.want["seen "+name+" "+id] = line("seen", "map", fmt.Sprintf(`,"mapKey":%q,"value":%d`, id, n))
	case 5:
		s.words.Set([]string{id, name})
		s.want["words "+name] = line("words", "list", fmt.Sprintf(`,"value":[%q,%q]`, id, name))
	case 6:
		c, _ := codec.Of[int64]()
		s.sums.Put(ns, key, c.Append(nil, &n))
		s.want[fmt.Sprint("sums ", name, " in ", ns)] = line("sums", "window", fmt.Sprintf(`,"window":%d,"value":%d`, ns, n))
	case 7:
		val := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(n)), uint64(ns))
		s.timers.Put(0, key, val)
		window := ""
		if ns != 0 {
			window = fmt.Sprintf(`"window":%d,`, ns)
		}
		s.want["timer "+name] = line("timers/event-timers", "event-timer", fmt.Sprintf(`,%s"time":%d`, window, n))
	default:
		s.count.Set(n)
		s.want["count "+name] = line("count", "value", fmt.Sprintf(`,"value":%d`, n))
	}
}

// snapshot writes a file of the chain: what has changed if the backend knows.
func (s *subtask) snapshot(objects store.Store, cp dataflow.CheckpointID, whole dataflow.KeyGroupRange) {
	s.t.Helper()
	sn, err := s.backend.Snapshot(cp)
	if err != nil {
		s.t.Fatal(err)
	}
	defer sn.Release()
	h := &controlv1.StateHandle{
		OperatorId: operatorID, Subtask: int32(s.index), Kind: controlv1.StateKind_STATE_KIND_KEYED, Object: fmt.Sprintf("chk-%d/%d.state", cp, s.index), Offset: 5,
		KeyGroupFirst: uint32(s.groups.First), KeyGroupLast: uint32(s.groups.Last), Written: int64(cp),
	}
	file := bytes.NewBufferString("other")
	d, ok := sn.(state.Delta)
	if ok && d.Base() != 0 && len(s.chain) > 0 {
		_, err = d.WriteDelta(file, whole)
		h.Base, h.WholeFirst, h.WholeLast = int64(d.Base()), uint32(whole.First), uint32(whole.Last)
	} else {
		s.chain = nil
		_, err = sn.WriteTo(file)
	}
	b := file.Bytes()
	h.Length, h.Crc32C = int64(len(b))-5, crc32.Checksum(b[5:], crc32.MakeTable(crc32.Castagnoli))
	if err := errors.Join(err, objects.Put(s.t.Context(), h.GetObject(), bytes.NewReader(b), int64(len(b)))); err != nil {
		s.t.Fatal(err)
	}
	s.chain = append(s.chain, h)
	s.backend.(state.Incremental).Committed(cp)
}

// job is an operator of two subtasks whose checkpoints are chains.
func job(t *testing.T, newBackend func(dataflow.KeyGroupRange) state.Backend, objects store.Store, checkpoints int) (*checkpointv1.Manifest, []string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	var subtasks []*subtask
	for i := range 2 {
		g := dataflow.KeyGroupsOf(i, groupsOfJob, 2)
		subtasks = append(subtasks, newSubtask(t, i, g, newBackend(g)))
	}
	m := &checkpointv1.Manifest{
		CheckpointId: int64(checkpoints), Kind: checkpointv1.Kind_KIND_CHECKPOINT, MaxParallelism: groupsOfJob, JobName: "test",
		Operators: []*checkpointv1.Operator{{Id: operatorID, Uid: "counts", Name: "count by word", Parallelism: 2}},
	}
	for cp := 1; cp <= checkpoints; cp++ {
		for range 600 {
			name := fmt.Sprint("key ", rnd.IntN(200))
			key := state.KeyOf(subtasks[0].keys.AppendKey(nil, &name))
			subtasks[dataflow.SubtaskOf(key.Group(groupsOfJob), groupsOfJob, 2)].set(rnd, name)
		}
		for _, s := range subtasks {
			from := s.groups.First + dataflow.KeyGroup(8*(cp%4))
			s.snapshot(objects, dataflow.CheckpointID(cp), dataflow.KeyGroupRange{First: from, Last: from + 7})
		}
	}
	var want []string
	for _, s := range subtasks {
		want = slices.AppendSeq(want, maps.Values(s.want))
		m.Handles = append(m.Handles, s.chain...)
	}
	slices.Sort(want)
	return m, want
}

func export(t *testing.T, s *Snapshot, q Query) []string {
	t.Helper()
	var got []string
	sum, err := s.Export(t.Context(), q, func(e *Entry) error {
		b, err := json.Marshal(e)
		got = append(got, string(b))
		if line := e.AppendLine(nil); string(line) != string(b)+"\n" {
			t.Errorf("the line is %s, want %s", line, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Entries != int64(len(got)) || len(sum.LeftOut) > 0 {
		t.Errorf("%d entries are counted as %d; %v are left out", len(got), sum.Entries, sum.LeftOut)
	}
	slices.Sort(got)
	return got
}

// An export says what the state is, whichever backend wrote it, in one file or
// in a chain, with as little memory as is allowed.
func TestExport(t *testing.T) {
	t.Parallel()
	for name, newBackend := range backends(t) {
		for _, checkpoints := range []int{1, 2, 9} {
			t.Run(fmt.Sprint(name, "/", checkpoints), func(t *testing.T) {
				t.Parallel()
				objects := memstore.New(clock.Real{})
				m, want := job(t, newBackend, objects, checkpoints)
				if files := len(m.GetHandles()); checkpoints > 1 && files <= 2 {
					t.Fatalf("%d files are no chains", files)
				}
				for _, most := range []int64{0, 4 << 10, 50} {
					if got := export(t, New(m, objects), Query{GatherBytesMax: most}); !slices.Equal(got, want) {
						t.Fatalf("at most %d bytes: %d entries, want %d\n%.600q\nwant\n%.600q", most, len(got), len(want), got, want)
					}
				}
			})
		}
	}
}

// An export may be of one operator and one state; what there is not is told
// with what there is.
func TestExportOfOneState(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	m, want := job(t, backends(t)["memory"], objects, 3)
	s := New(m, objects)
	want = slices.DeleteFunc(want, func(l string) bool { return !strings.Contains(l, `"state":"seen"`) })
	for _, op := range []string{"", "counts", "count by word", operatorID} {
		if got := export(t, s, Query{Operator: op, State: "seen"}); !slices.Equal(got, want) {
			t.Errorf("operator %q: %d entries, want %d", op, len(got), len(want))
		}
	}
	for _, q := range []Query{{Operator: "nobody"}, {State: "nothing"}} {
		_, err := s.Export(t.Context(), q, func(*Entry) error { return nil })
		if !errors.Is(err, ErrNoSuch) || !strings.Contains(err.Error(), "count") {
			t.Errorf("%v: %v", q, err)
		}
	}
	enough := errors.New("enough")
	if _, err := s.Export(t.Context(), Query{}, func(*Entry) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	ops, err := s.Operators(t.Context())
	if err != nil || len(ops) != 1 || ops[0].KeySchema != "string" || len(ops[0].Tables) != 6 {
		t.Errorf("operators are %v, %v", ops, err)
	}
}

// counting counts the bytes that are asked for and read.
type counting struct {
	store.Store
	read int64
}

func (c *counting) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := c.Store.Get(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	return &countingBody{r, c}, nil
}

type countingBody struct {
	io.ReadCloser
	c *counting
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.read += int64(n)
	return n, err
}

// A file that is whole is read once.
func TestExportStreams(t *testing.T) {
	t.Parallel()
	objects := &counting{Store: memstore.New(clock.Real{})}
	m, want := job(t, backends(t)["memory"], objects, 1)
	if got := export(t, New(m, objects), Query{}); !slices.Equal(got, want) {
		t.Fatal("another export")
	}
	var size int64
	for _, h := range m.GetHandles() {
		size += h.GetLength()
	}
	if objects.read > size+4096 { // the headers are read twice
		t.Errorf("%d bytes are read of %d", objects.read, size)
	}
}

// Damage and absence are errors, not a shorter export.
func TestExportOfDamage(t *testing.T) {
	t.Parallel()
	for _, checkpoints := range []int{1, 4} {
		objects := memstore.New(clock.Real{})
		m, _ := job(t, backends(t)["memory"], objects, checkpoints)
		last := m.GetHandles()[len(m.GetHandles())-1]
		r, err := objects.Get(t.Context(), last.GetObject(), 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(b)
		bad[len(bad)/2] ^= 1
		for _, file := range [][]byte{bad, b[:len(b)-30], nil} {
			if err := objects.Delete(t.Context(), last.GetObject()); err != nil {
				t.Fatal(err)
			}
			if file != nil {
				if err := objects.Put(t.Context(), last.GetObject(), bytes.NewReader(file), int64(len(file))); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := New(m, objects).Export(t.Context(), Query{}, func(*Entry) error { return nil }); err == nil || !strings.Contains(err.Error(), last.GetObject()) {
				t.Errorf("%d bytes of %d: %v", len(file), len(b), err)
			}
		}
	}
}

// Names with what JSON escapes, and keys of no known type.
func TestLine(t *testing.T) {
	t.Parallel()
	n := int64(-3)
	for _, e := range []Entry{
		{Operator: "a\"b\\c\nd", State: "é", Kind: "value", Key: []byte("null"), KeyBytes: []byte{0, 255}, Window: &n, WindowEnd: &n, Time: &n},
		{Operator: "o", State: "s", Kind: "map", Key: []byte(`"k"`), MapKey: []byte("1"), Value: []byte(`{"A":1}`)},
	} {
		want, err := json.Marshal(e)
		if err != nil || string(e.AppendLine(nil)) != string(want)+"\n" {
			t.Errorf("%s, want %s, %v", e.AppendLine(nil), want, err)
		}
	}
}

func TestPortions(t *testing.T) {
	t.Parallel()
	held := dataflow.KeyGroupRange{First: 10, Last: 15}
	var got []string
	for _, p := range portions(held, []int64{40, 60, 1, 250, 0, 100}, 100) {
		got = append(got, fmt.Sprint(p.groups.First, "-", p.groups.Last, " ", p.share, "/", p.shares))
	}
	want := []string{"10-11 0/1", "12-12 0/1", "13-13 0/3", "13-13 1/3", "13-13 2/3", "14-15 0/1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, missing := chain.Missing(nil, held); missing {
		t.Error("nothing is missing of nothing")
	}
}
