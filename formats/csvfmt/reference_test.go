package csvfmt_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
)

type three struct{ A, B, C string }

var joined = []csvfmt.Option{csvfmt.NoHeader(), csvfmt.QuotedLines()}

// readAll reads text record by record, as a file is read, until the first
// fault.
func readAll(t testing.TB, text []byte) (out []three, failed bool) {
	t.Helper()
	d, err := csvfmt.NewDecoder(three{}, joined...)
	if err != nil {
		t.Fatal(err)
	}
	var rec []byte
	open := false
	for line := range bytes.Lines(text) {
		if !open && len(bytes.TrimSuffix(line, []byte("\n"))) == 0 {
			continue
		}
		rec = append(rec, line...)
		if open = d.GoesOn(bytes.TrimSuffix(line, []byte("\n")), open); open {
			continue
		}
		var v three
		if d.DecodeBytes(bytes.TrimSuffix(rec, []byte("\n")), &v, nil) != nil {
			return out, true
		}
		out, rec = append(out, v), rec[:0]
	}
	return out, open
}

// reference is readAll by encoding/csv.
func reference(text []byte) (out []three, failed bool) {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = 3
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, false
		}
		if err != nil {
			return out, true
		}
		out = append(out, three{valid(rec[0]), valid(rec[1]), valid(rec[2])})
	}
}

func valid(s string) string { return string([]rune(s)) }

func compare(t *testing.T, text []byte) {
	t.Helper()
	got, failed := readAll(t, text)
	want, wantFailed := reference(text)
	if !slices.Equal(got, want) || failed != wantFailed {
		t.Fatalf("%q:\nread %q, failed %v\nwant %q, failed %v", text, got, failed, want, wantFailed)
	}
}

// alphabet has what matters often.
var alphabet = []string{`"`, `""`, ",", "\n", "a", "bc", " ", "\u00e9", "\xff", "'", ";"}

func randomText(rng *rand.Rand, parts int) string {
	var b strings.Builder
	for range rng.IntN(parts) {
		b.WriteString(alphabet[rng.IntN(len(alphabet))])
	}
	return b.String()
}

// Any text is read as encoding/csv reads it, or refused where it refuses it.
func TestReadsAsEncodingCSVDoes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 1))
	for range 50_000 {
		compare(t, []byte(randomText(rng, 16)))
	}
}

// What one of the two wrote, the other reads.
func TestWritesWhatEncodingCSVReads(t *testing.T) {
	t.Parallel()
	e, err := csvfmt.NewEncoder(three{}, joined...)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 2))
	var theirs, ours []byte
	var want []three
	for range 5000 {
		v := three{randomText(rng, 6), randomText(rng, 6), randomText(rng, 6)}
		if ours, err = e.AppendBytes(ours, &v); err != nil {
			t.Fatal(err)
		}
		ours = append(ours, '\n')
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.Write([]string{v.A, v.B, v.C}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		theirs = append(theirs, b.Bytes()...)
		want = append(want, three{valid(v.A), valid(v.B), valid(v.C)})
	}
	if got, failed := reference(ours); failed || !slices.Equal(got, want) {
		t.Errorf("encoding/csv reads %d of %d records of ours, failed %v", len(got), len(want), failed)
	}
	if got, failed := readAll(t, theirs); failed || !slices.Equal(got, want) {
		t.Errorf("%d of %d records of encoding/csv are read, failed %v", len(got), len(want), failed)
	}
}

// Decimals and times are those of jsonfmt.
func TestScalarsAreThoseOfJSON(t *testing.T) {
	t.Parallel()
	type row struct {
		D int64   `json:"d" leat:"decimal=3"`
		M int64   `json:"m" leat:"time=millis"`
		F float64 `json:"f"`
		I int32   `json:"i"`
	}
	c, err := csvfmt.NewDecoder(row{}, csvfmt.NoHeader())
	if err != nil {
		t.Fatal(err)
	}
	j, err := jsonfmt.NewDecoder(row{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 3))
	digits := func(n int) string {
		return strings.Repeat("0", rng.IntN(2)*rng.IntN(3)) + strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)[:1] + strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)[:n%2]
	}
	number := func() string {
		s := []string{"", "-"}[rng.IntN(2)] + digits(rng.IntN(9))
		if rng.IntN(2) == 0 {
			s = []string{"", "-"}[rng.IntN(2)] + strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)
		}
		if rng.IntN(2) == 0 {
			s += "." + strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)[:1] + strings.Repeat("0", rng.IntN(30))
		}
		if rng.IntN(3) == 0 {
			s += []string{"e", "E+", "e-"}[rng.IntN(3)] + strconv.Itoa(rng.IntN(30))
		}
		return s
	}
	read := 0
	for range 40_000 {
		d, m, f, i := number(), strconv.FormatInt(rng.Int64(), 10), number(), strconv.Itoa(rng.IntN(100))
		var a, b row
		errC := c.DecodeBytes([]byte(d+","+m+","+f+","+i), &a, nil)
		errJ := j.DecodeBytes(fmt.Appendf(nil, `{"d":%s,"m":%s,"f":%s,"i":%s}`, d, m, f, i), &b, nil)
		// JSON has no number that begins with a zero; a CSV float may.
		if loose := strings.TrimPrefix(f, "-"); len(loose) > 1 && loose[0] == '0' && loose[1]-'0' < 10 {
			continue
		}
		if (errC == nil) != (errJ == nil) || errC == nil && a != b {
			t.Fatalf("%s %s %s: CSV %+v (%v), JSON %+v (%v)", d, m, f, a, errC, b, errJ)
		}
		if errC == nil {
			read++
		}
	}
	if read < 2_000 {
		t.Fatalf("only %d numbers could be read", read)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("a,b,c\n"))
	f.Add([]byte("\"a\nb\",\"\"\"\",c\n,,\n"))
	f.Add([]byte("a,\"b\"x,c\nd,e,f"))
	f.Add([]byte("a,b,\"c\n"))
	f.Add([]byte("a\"b,c,d\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.IndexByte(text, '\r') >= 0 {
			return // encoding/csv drops carriage returns within quotes
		}
		compare(t, text)
	})
}

func BenchmarkDecode(b *testing.B) {
	type order struct {
		ID     string `json:"order_id"`
		Region string `json:"region"`
		Amount int64  `json:"amount" leat:"decimal=2"`
		Time   int64  `json:"ts" leat:"time=millis"`
	}
	d, err := csvfmt.NewDecoder(order{}, csvfmt.NoHeader())
	if err != nil {
		b.Fatal(err)
	}
	line := []byte("ORD-00001234,EU-NORTH,149.50,2026-01-01T00:00:00.123Z")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	var v order
	for b.Loop() {
		if err := d.DecodeBytes(line, &v, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	type order struct {
		ID     string `json:"order_id"`
		Region string `json:"region"`
		Amount int64  `json:"amount" leat:"decimal=2"`
		Time   int64  `json:"ts" leat:"time=millis"`
	}
	e, err := csvfmt.NewEncoder(order{})
	if err != nil {
		b.Fatal(err)
	}
	v := order{"ORD-00001234", "EU-NORTH", 14950, 1_767_225_600_123}
	out := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if out, err = e.AppendBytes(out[:0], &v); err != nil {
			b.Fatal(err)
		}
	}
}
