package fields_test

import (
	"encoding/binary"
	"testing"

	"github.com/leatstream/leat/internal/fields"
)

func state() []byte {
	b := binary.AppendUvarint(nil, 300)
	b = append(binary.AppendUvarint(b, 3), "abc"...)
	b = binary.LittleEndian.AppendUint64(b, 1<<63)
	return binary.AppendUvarint(b, 0)
}

func read(b []byte) (n uint64, text string, fixed uint64, empty []byte, r fields.Reader) {
	r = fields.Read(b)
	n, text, fixed = r.Uvarint(), string(r.Bytes()), r.Fixed64()
	empty = r.Bytes()
	return n, text, fixed, empty, r
}

func TestFieldsAreReadInOrder(t *testing.T) {
	t.Parallel()
	n, text, fixed, empty, r := read(state())
	if n != 300 || text != "abc" || fixed != 1<<63 || len(empty) != 0 || !r.Whole() || r.Bad() {
		t.Errorf("%d %q %d %q whole %v bad %v", n, text, fixed, empty, r.Whole(), r.Bad())
	}
}

// TestWhatIsCutOrLongerIsNotWhole cuts the state at every place.
func TestWhatIsCutOrLongerIsNotWhole(t *testing.T) {
	t.Parallel()
	whole := state()
	for i := range whole {
		if _, _, _, _, r := read(whole[:i]); r.Whole() || !r.Bad() {
			t.Errorf("%d of %d bytes: whole %v, bad %v", i, len(whole), r.Whole(), r.Bad())
		}
	}
	if _, _, _, _, r := read(append(whole, 1)); r.Whole() || r.Bad() {
		t.Errorf("a byte too much: whole %v, bad %v", r.Whole(), r.Bad())
	}
	// A forged length takes no memory, and nothing follows a fault.
	r := fields.Read(binary.AppendUvarint(nil, 1<<62))
	if r.Bytes() != nil || r.Uvarint() != 0 || !r.Bad() {
		t.Error("a length beyond the state was believed")
	}
	// A caller that appends to a part does not write over the next field.
	b := state()
	r = fields.Read(b)
	r.Uvarint()
	_ = append(r.Bytes(), 0xff)
	if r.Fixed64() != 1<<63 {
		t.Error("the next field was written over")
	}
}

func TestNumbersWithLimits(t *testing.T) {
	t.Parallel()
	b := binary.AppendVarint([]byte{7}, -5)
	b = binary.AppendUvarint(b, 3)
	b = append(binary.AppendUvarint(b, 2), 'x', 'y')
	r := fields.Read(b)
	if v := r.Byte(); v != 7 {
		t.Errorf("byte %d, want 7", v)
	}
	if v := r.Varint(); v != -5 {
		t.Errorf("number %d, want -5", v)
	}
	if v := r.Below(4); v != 3 {
		t.Errorf("number below 4 is %d, want 3", v)
	}
	if n := r.Count(); n != 2 || r.Byte() != 'x' || r.Byte() != 'y' || !r.Whole() {
		t.Errorf("%d elements, want 2; whole %v", n, r.Whole())
	}
	for name, read := range map[string]func(r *fields.Reader) bool{
		"a number at its limit":          func(r *fields.Reader) bool { return r.Below(4) == 0 },
		"a number with no room":          func(r *fields.Reader) bool { return r.Below(0) == 0 },
		"a list longer than the rest":    func(r *fields.Reader) bool { return r.Count() == 0 },
		"a byte, a number after nothing": func(r *fields.Reader) bool { r.Bytes(); return r.Byte() == 0 && r.Varint() == 0 },
	} {
		r := fields.Read([]byte{4, 0, 0, 0})
		if !read(&r) || !r.Bad() {
			t.Errorf("%s: bad %v, want a zero and a fault", name, r.Bad())
		}
	}
}
