package window

import (
	"slices"

	"github.com/leatstream/leat/state"
)

// sharedBulk does the work of shared on accumulators of a fixed size, many
// keys with one call on a table: what is changed is changed where it lies.
// They hold no references, so a copy is one of all there is.
//
// The row form of live begins with that of the suffix that it holds: a suffix
// is taken out of live and put back as the bytes that it is.
type sharedBulk[A any] struct {
	live, suffixes [aheadKeys][]byte
	before         []byte // the suffixes of live, one after another
	gone, stay     []state.Key
	next           [][]byte
}

// begin makes the entries of live for keys, and returns where they lie until
// the next call on live. Those that are new are zero, which is an empty live.
func (b *sharedBulk[A]) begin(s *shared[A], keys []state.Key) [][]byte {
	vals := b.live[:len(keys)]
	s.live.bulk.UpsertBatch(0, keys, vals, nil)
	return vals
}

// prepend is shared.prepend for keys with what pane p holds of them.
func (b *sharedBulk[A]) prepend(s *shared[A], p int64, keys []state.Key, panes [][]byte) error {
	size := s.suffixes.fixed
	b.before = b.before[:0]
	for i, v := range b.begin(s, keys) {
		b.before = append(b.before, v[:size]...) // not after: the merge may take it apart
		s.sx = suffix[A]{}
		if err := s.table.load(panes[i], &s.sx.Acc); err != nil {
			return err
		}
		s.suffixes.codec.FixedLoad(v, &s.front)
		if s.front.Mark.has() {
			s.merge(&s.sx.Acc, &s.front.Acc)
		}
		s.sx.Mark = s.mark(p)
		s.suffixes.codec.FixedStore(v, &s.sx)
	}
	vals := b.suffixes[:len(keys)]
	s.suffixes.bulk.UpsertBatch(p, keys, vals, nil)
	for i, v := range vals {
		copy(v, b.before[i*size:(i+1)*size])
	}
	return nil
}

// append is shared.append for keys with what a pane holds of them.
func (b *sharedBulk[A]) append(s *shared[A], keys []state.Key, panes [][]byte) error {
	for i, v := range b.begin(s, keys) {
		s.live.codec.FixedLoad(v, &s.lv)
		if err := s.table.load(panes[i], &s.acc); err != nil {
			return err
		}
		s.append()
		s.live.codec.FixedStore(v, &s.lv)
	}
	return nil
}

// follow moves keys to their next suffixes, but for those that pass.
func (b *sharedBulk[A]) follow(s *shared[A], stays int64, keys []state.Key, next [][]byte) {
	b.gone = b.gone[:0]
	if slices.ContainsFunc(next, func(v []byte) bool { return markOf(v).passes(stays) }) {
		keys, next = b.staying(stays, keys, next)
	}
	for i, v := range b.begin(s, keys) {
		m := markOf(next[i]) | markOf(v)&hasBack
		copy(v, next[i])
		setMark(v, m)
		if m == 0 {
			b.gone = append(b.gone, keys[i])
		}
	}
	for _, k := range b.gone { // not before: what lies in live might move
		s.live.table.Delete(0, k)
	}
}

// staying returns the keys whose next suffixes do not pass, until its next call.
func (b *sharedBulk[A]) staying(stays int64, keys []state.Key, next [][]byte) ([]state.Key, [][]byte) {
	b.stay, b.next = b.stay[:0], b.next[:0]
	for i, v := range next {
		if !markOf(v).passes(stays) {
			b.stay, b.next = append(b.stay, keys[i]), append(b.next, v)
		}
	}
	return b.stay, b.next
}
