package codec

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// The bytes of each form are formats: golden files of every version that was
// ever written stay, and are read. A difference here is a new version.
func TestGoldenForms(t *testing.T) {
	t.Parallel()
	var sb strings.Builder
	golden(t, &sb, true)
	golden(t, &sb, int8(-2))
	golden(t, &sb, int16(-2))
	golden(t, &sb, int32(-2))
	golden(t, &sb, int64(-2))
	golden(t, &sb, int(258))
	golden(t, &sb, uint8(2))
	golden(t, &sb, uint16(258))
	golden(t, &sb, uint32(258))
	golden(t, &sb, uint64(math.MaxUint64))
	golden(t, &sb, float32(-1.5))
	golden(t, &sb, 1.5)
	golden(t, &sb, -1.5)
	golden(t, &sb, math.Copysign(0, -1))
	golden(t, &sb, math.NaN())
	golden(t, &sb, "")
	golden(t, &sb, "CUST-00042")
	golden(t, &sb, "a\x00b")
	golden(t, &sb, strings.Repeat("0123456789", 20))
	golden(t, &sb, []byte("bytes"))
	golden(t, &sb, []byte(nil))
	golden(t, &sb, time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC))
	golden(t, &sb, time.Time{})
	golden(t, &sb, -time.Second)
	golden(t, &sb, [2]int16{1, -1})
	golden(t, &sb, [2]string{"a", "b\x00"})
	golden(t, &sb, []int32{1, 2})
	golden(t, &sb, []string(nil))
	golden(t, &sb, []string{})
	golden(t, &sb, map[string]int8{"b": 2, "a": 1})
	golden(t, &sb, new(int64))
	golden(t, &sb, (*int64)(nil))
	golden(t, &sb, address{"Main Street", 12345})
	golden(t, &sb, struct {
		Kind  string
		Day   int32
		Price int64 `leat:"decimal=2"`
		Last  string
	}{"k\x00", 20454, 14950, "last"})
	golden(t, &sb, counts{1, 2.5, -3, 4})
	want, err := os.ReadFile("testdata/forms_v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(sb.String(), "\n\n"), strings.Split(string(want), "\n\n")
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || got[i] != old[i] {
			t.Fatalf("entry %d of testdata/forms_v1.txt differs; all that is written now:\n%s", i, sb.String())
		}
	}
}

// golden describes the forms of v, columns of two equal rows.
func golden[T any](t *testing.T, sb *strings.Builder, v T) {
	t.Helper()
	c := mustOf[T](t)
	key := c.AppendKey(nil, &v)
	shown := fmt.Sprintf("%+v", v)
	if c.Type().Kind == KindPointer {
		shown = map[bool]string{true: "nil", false: "not nil"}[shown == "<nil>"]
	}
	fmt.Fprintf(sb, "schema  %s\nvalue   %q\nfixed   %d\nrow     %x\ncolumns %x\nkey     %x\nhash    %016x\n\n",
		c.Schema(), shown, c.Fixed(), c.Append(nil, &v), c.AppendColumns(nil, []T{v, v}), key, HashKey(key))
}
