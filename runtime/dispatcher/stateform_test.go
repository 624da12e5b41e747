package dispatcher

import (
	"encoding/binary"
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
		f, ok := formOf(c.schema)
		if !ok {
			t.Errorf("%s has no form", c.schema)
			continue
		}
		key, value, err := f.texts(c.sub, c.val)
		if err != nil || string(key) != c.key || string(value) != c.value {
			t.Errorf("%s: %s %s, error %v", c.schema, key, value, err)
		}
		if f.stamped {
			if _, _, err := f.texts(c.sub, c.val[:7]); err == nil {
				t.Errorf("%s: a value of 7 bytes was read", c.schema)
			}
		}
	}
	if _, ok := formOf("key string"); ok {
		t.Error("the table that tells the type of keys is shown")
	}
}
