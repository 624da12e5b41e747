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
