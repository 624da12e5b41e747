package stateform

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// Values with a TTL have a stamp before them, which people do not see.
func TestFormsOfStateThatExpires(t *testing.T) {
	t.Parallel()
	stamp := binary.LittleEndian.AppendUint64(nil, 1_700_000_000_000)
	text := append(stamp[:8:8], "\x02hi"...)
	list := append(append(stamp[:8:8], 3), "\x02hi"...)
	list = append(append(append(list, stamp...), 2), "\x01x"...)
	for _, c := range []struct {
		schema     string
		sub, val   []byte
		key, value string
	}{
		{"value stamped(processing) string", nil, text, "", `"hi"`},
		{"aggregating stamped(event) string", nil, text, "", `"hi"`},
		{"map stamped(event) string to string", []byte("k"), text, `"k"`, `"hi"`},
		{"list stamped(processing) string", nil, list, "", `["hi","x"]`},
		{"list string", nil, []byte("\x01\x02hi"), "", `["hi"]`},
	} {
		f, ok := Of("sums", c.schema)
		if !ok {
			t.Errorf("%s has no form", c.schema)
			continue
		}
		key, value, err := f.Texts(c.sub, c.val)
		if err != nil || string(key) != c.key || string(value) != c.value {
			t.Errorf("%s: %s %s, error %v", c.schema, key, value, err)
		}
		if f.stamped {
			if _, _, err := f.Texts(c.sub, c.val[:7]); err == nil {
				t.Errorf("%s: a value of 7 bytes was read", c.schema)
			}
		}
	}
	if _, ok := Of("leat:key", "key string"); ok {
		t.Error("the table that tells the type of keys is shown")
	}
}

// Timers of a key are told in their order; bytes that are no whole number of
// them are damage.
func TestTimers(t *testing.T) {
	t.Parallel()
	var val []byte
	for _, n := range []int64{-7, 3, 1_700_000_000_000, 0} {
		val = binary.LittleEndian.AppendUint64(val, uint64(n))
	}
	var got []int64
	tell := func(time, ns int64) error {
		got = append(got, time, ns)
		return nil
	}
	if err := Timers(val, tell); err != nil || !slices.Equal(got, []int64{-7, 3, 1_700_000_000_000, 0}) {
		t.Fatal(got, err)
	}
	if Timers(val[:17], tell) == nil {
		t.Error("17 bytes are timers")
	}
	stop := errors.New("enough")
	if err := Timers(val, func(int64, int64) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if !IsTimers("timers 1: in pairs") || IsTimers("value int64") {
		t.Error("timers are not told from values")
	}
	if key, ok := KeySchema("leat:key", "key {A:int64}"); !ok || key != "{A:int64}" {
		t.Error(key, ok)
	}
}
