package statefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file of the current version anew")

func sampleHeader() Header {
	return Header{
		Checkpoint: 7, MaxParallelism: 128, Groups: dataflow.KeyGroupRange{First: 0, Last: 127},
		Tables: []state.Descriptor{
			{Name: "counts", Schema: "value int64", Fixed: 8},
			{Name: "names", Schema: "list string"},
			{Name: "seen", Schema: "map int32 to bool", Sub: true},
		},
	}
}

func group(key string) dataflow.KeyGroup { return state.KeyOf([]byte(key)).Group(128) }

// sample is a file with a record of each kind in two chunks.
func sample(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, sampleHeader())
	if err != nil {
		tb.Fatal(err)
	}
	a, b := group("a"), group("b")
	body := AppendGroupValue(nil, "bound", []byte{1, 2})
	body = AppendEntries(body, 0, -1, 1)
	body = AppendEntry(body, 8, []byte("a"), []byte("\x05\x00\x00\x00\x00\x00\x00\x00"))
	body = AppendEntries(body, 1, 60000, 2)
	body = AppendEntry(body, 0, []byte("a"), []byte("xyz"))
	body = AppendEntry(body, 0, []byte("a"), nil)
	other := AppendSubEntries(nil, 2, 0, []byte("b"), 2)
	other = AppendSubEntry(other, []byte("s1"), []byte{1})
	other = AppendSubEntry(other, []byte("s2"), nil)
	sections := []Section{{a, body}, {b, other}}
	if a > b {
		sections[0], sections[1] = sections[1], sections[0]
	}
	for _, err := range []error{w.Chunk(sections), w.Chunk([]Section{{b, other}}), w.Finish(7)} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	if w.Bytes() != int64(out.Len()) {
		tb.Errorf("Bytes is %d of %d", w.Bytes(), out.Len())
	}
	return out.Bytes()
}

func deltaHeader() Header {
	h := sampleHeader()
	h.Checkpoint, h.Base, h.Whole = 9, 7, dataflow.KeyGroupRange{First: 100, Last: 120}
	h.Dropped = []Namespace{{Table: 1, NS: 60000}, {Table: 2, NS: -1}}
	return h
}

// delta is a file with a base, with a record of each kind.
func delta(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, deltaHeader())
	if err != nil {
		tb.Fatal(err)
	}
	a, b := group("a"), group("b")
	gone := AppendResetValues(nil)
	gone = AppendGroupValue(gone, "bound", []byte{3})
	gone = AppendDeleted(gone, 0, -1, 1)
	gone = AppendDeletedKey(gone, []byte("b"))
	gone = AppendDeletedSubs(gone, 2, 0, []byte("b"), 2)
	gone = AppendDeletedKey(AppendDeletedKey(gone, []byte("s1")), nil)
	again := AppendSubEntries(nil, 2, 0, []byte("b"), 1)
	again = AppendSubEntry(again, []byte("s1"), []byte{2})
	all := AppendEntry(AppendEntries(nil, 1, 5, 1), 0, []byte("a"), []byte("xyz"))
	for _, err := range []error{w.Chunk([]Section{{b, gone}}), w.Chunk([]Section{{b, again}, {a, all}}), w.Finish(5)} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out.Bytes()
}

// logger writes down what it is told.
type logger struct{ strings.Builder }

func (l *logger) Entry(table int, ns int64, key, val []byte) error {
	fmt.Fprintf(l, "entry %d %d %q %q\n", table, ns, key, val)
	return nil
}

func (l *logger) SubEntry(table int, ns int64, key, sub, val []byte) error {
	fmt.Fprintf(l, "sub entry %d %d %q %q %q\n", table, ns, key, sub, val)
	return nil
}

func (l *logger) GroupValue(name string, val []byte) error {
	fmt.Fprintf(l, "group value %q %q\n", name, val)
	return nil
}

func (l *logger) Delete(table int, ns int64, key []byte) error {
	fmt.Fprintf(l, "delete %d %d %q\n", table, ns, key)
	return nil
}

func (l *logger) DeleteSub(table int, ns int64, key, sub []byte) error {
	fmt.Fprintf(l, "delete sub %d %d %q %q\n", table, ns, key, sub)
	return nil
}

func (l *logger) ResetValues() error {
	fmt.Fprintln(l, "reset values")
	return nil
}

func readAll(r io.Reader, want dataflow.KeyGroupRange) (string, Header, error) {
	fr, err := NewReader(r)
	if err != nil {
		return "", Header{}, err
	}
	var l logger
	for {
		s, err := fr.Next(want)
		if errors.Is(err, io.EOF) {
			return l.String(), fr.Header(), nil
		}
		if err != nil {
			return l.String(), fr.Header(), err
		}
		fmt.Fprintf(&l, "group %d\n", s.Group)
		if _, err := fr.Header().Parse(s, &l); err != nil {
			return l.String(), fr.Header(), err
		}
	}
}

// The file of every version ever written is read, and written byte by byte as
// documented.
func TestGolden(t *testing.T) {
	t.Parallel()
	checkGolden(t, "testdata/v1.state", sample(t), sampleHeader(), `group 56
sub entry 2 0 "b" "s1" "\x01"
sub entry 2 0 "b" "s2" ""
group 120
group value "bound" "\x01\x02"
entry 0 -1 "a" "\x05\x00\x00\x00\x00\x00\x00\x00"
entry 1 60000 "a" "xyz"
entry 1 60000 "a" ""
group 56
sub entry 2 0 "b" "s1" "\x01"
sub entry 2 0 "b" "s2" ""
`)
	checkGolden(t, "testdata/v2.state", delta(t), deltaHeader(), `group 56
reset values
group value "bound" "\x03"
delete 0 -1 "b"
delete sub 2 0 "b" "s1"
delete sub 2 0 "b" ""
group 56
sub entry 2 0 "b" "s1" "\x02"
group 120
entry 1 5 "a" "xyz"
`)
}

func checkGolden(t *testing.T, path string, now []byte, header Header, want string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, now, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, now) {
		t.Errorf("%s differs from what is written now: a change of the format needs a new version", path)
	}
	text, h, err := readAll(bytes.NewReader(golden), dataflow.KeyGroupRange{First: 0, Last: 127})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h, header) {
		t.Errorf("header is %+v", h)
	}
	if text != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
}

// who reads entries alone must not take a delta for all there is.
type entriesOnly struct{ Visitor }

func TestDeltaIsNotReadAlone(t *testing.T) {
	t.Parallel()
	r, err := NewReader(bytes.NewReader(delta(t)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Next(r.Header().Groups)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Header().Parse(s, entriesOnly{&logger{}}); err == nil || !strings.Contains(err.Error(), "adds to others") {
		t.Errorf("got %v", err)
	}
	h := r.Header()
	h.Base = 0
	if _, err := h.Parse(s, &logger{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("records of deltas in a file without a base: %v", err)
	}
}

func TestSkipsForeignGroups(t *testing.T) {
	t.Parallel()
	file := sample(t)
	only := dataflow.KeyGroupRange{First: group("b"), Last: group("b")}
	seeking, _, err := readAll(bytes.NewReader(file), only)
	if err != nil {
		t.Fatal(err)
	}
	streaming, _, err := readAll(io.MultiReader(bytes.NewReader(file)), only)
	if err != nil {
		t.Fatal(err)
	}
	if seeking != streaming || strings.Contains(seeking, "xyz") || strings.Count(seeking, "s1") != 2 {
		t.Errorf("seeking\n%sstreaming\n%s", seeking, streaming)
	}
}

func TestOtherVersionIsNamed(t *testing.T) {
	t.Parallel()
	file := sample(t)
	file[8] = 9
	n := prefixBytes + int(binary.LittleEndian.Uint32(file[12:]))
	binary.LittleEndian.PutUint32(file[n:], checksum(file[:n]))
	_, _, err := readAll(bytes.NewReader(file), dataflow.KeyGroupRange{})
	if err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("got %v", err)
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestWriteErrorsAreReturned(t *testing.T) {
	t.Parallel()
	for after := range 4 {
		w, err := NewWriter(&failing{after}, sampleHeader())
		if err == nil {
			err = errors.Join(w.Chunk([]Section{{1, []byte{0}}}), w.Finish(0))
		}
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("write %d fails: %v", after, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(f))
	f.Add(sample(f)[:100])
	f.Add(delta(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, _, err := readAll(bytes.NewReader(file), dataflow.KeyGroupRange{First: 0, Last: 127})
		if err == nil && !bytes.HasPrefix(file, []byte(magic)) {
			t.Error("a file without the magic was read")
		}
	})
}

// FuzzParse reads bodies that no checksum protects.
func FuzzParse(f *testing.F) {
	for _, file := range [][]byte{sample(f), delta(f)} {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			f.Fatal(err)
		}
		for {
			s, err := r.Next(dataflow.KeyGroupRange{First: 0, Last: 127})
			if err != nil {
				break
			}
			f.Add(bytes.Clone(s.Body))
		}
	}
	h := deltaHeader()
	f.Fuzz(func(t *testing.T, body []byte) {
		var l logger
		n, err := h.Parse(Section{Group: 1, Body: body}, &l)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v does not wrap ErrCorrupt", err)
		}
		if n > int64(len(body)) {
			t.Errorf("%d entries in %d bytes", n, len(body))
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(appendHeader(nil, sampleHeader()), false)
	f.Add(appendHeader(nil, deltaHeader()), true)
	f.Fuzz(func(t *testing.T, b []byte, delta bool) {
		version := Version
		if delta {
			version = DeltaVersion
		}
		h, err := parseHeader(b, version)
		if err == nil && (h.MaxParallelism < 1 || (h.Base != 0) != delta) {
			t.Errorf("header %+v", h)
		}
	})
}

// Sizes tells what Next would read, and reads no section.
func TestSizes(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	h := Header{Checkpoint: 1, MaxParallelism: 8, Groups: dataflow.KeyGroupRange{First: 0, Last: 7}}
	w, err := NewWriter(&file, h)
	if err != nil {
		t.Fatal(err)
	}
	want := map[dataflow.KeyGroup]int64{}
	for i := range 3 {
		var sections []Section
		for g := range dataflow.KeyGroup(8) {
			body := AppendGroupValue(nil, "v", make([]byte, i*10+int(g)))
			want[g] += int64(len(body))
			sections = append(sections, Section{Group: g, Body: body})
		}
		if err := w.Chunk(sections); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(0); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]io.Reader{"seeking": bytes.NewReader(file.Bytes()), "reading": io.MultiReader(bytes.NewReader(file.Bytes()))} {
		r, err := NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		got := map[dataflow.KeyGroup]int64{}
		if err := r.Sizes(func(g dataflow.KeyGroup, n int64) { got[g] += n }); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v, error %v", name, got, want, err)
		}
	}
}
