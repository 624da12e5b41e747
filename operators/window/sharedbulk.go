package window

import "github.com/leatstream/leat/state"

// sharedBulk does the work of shared on accumulators of a fixed size, many
// keys with one call on a table: what is changed is changed where it lies.
// They hold no references, so a copy is one of all there is.
type sharedBulk[A any] struct {
	live, suffixes [aheadKeys][]byte
	created        [aheadKeys]bool
	next           [aheadKeys]suffix[A]
	gone           []state.Key
}

// begin makes the entries of live for keys, and returns where they lie until
// the next call on live.
func (b *sharedBulk[A]) begin(s *shared[A], keys []state.Key) [][]byte {
	vals := b.live[:len(keys)]
	s.live.bulk.UpsertBatch(0, keys, vals, b.created[:])
	return vals
}

// load makes s.lv the i-th of the values.
func (b *sharedBulk[A]) load(s *shared[A], i int) {
	if b.created[i] {
		s.lv = live[A]{First: noPane}
		return
	}
	s.live.codec.FixedLoad(b.live[i], &s.lv)
}

// prepend is shared.prepend for the keys of panesAhead.
func (b *sharedBulk[A]) prepend(s *shared[A], p int64) {
	x := &s.panesAhead
	for i, v := range b.begin(s, x.keys) {
		b.load(s, i)
		b.next[i] = suffix[A]{Next: s.lv.First, Acc: s.lv.Front}
		s.acc = x.vals[i]
		if s.lv.First != noPane {
			s.merge(&s.acc, &s.lv.Front)
		}
		s.lv.First, s.lv.Front = p, s.acc
		s.live.codec.FixedStore(v, &s.lv)
	}
	vals := b.suffixes[:len(x.keys)]
	s.suffixes.bulk.UpsertBatch(p, x.keys, vals, nil)
	for i, v := range vals {
		s.suffixes.codec.FixedStore(v, &b.next[i])
	}
}

// append is shared.append for the keys of panesAhead.
func (b *sharedBulk[A]) append(s *shared[A]) {
	x := &s.panesAhead
	for i, v := range b.begin(s, x.keys) {
		b.load(s, i)
		s.acc = x.vals[i]
		s.append()
		s.live.codec.FixedStore(v, &s.lv)
	}
}

// follow is shared.follow for the keys of expireAhead.
func (b *sharedBulk[A]) follow(s *shared[A]) {
	x := &s.expireAhead
	b.gone = b.gone[:0]
	for i, v := range b.begin(s, x.keys) {
		b.load(s, i)
		if !s.follow(&x.vals[i]) {
			b.gone = append(b.gone, x.keys[i])
			continue
		}
		s.live.codec.FixedStore(v, &s.lv)
	}
	for _, k := range b.gone { // not before: what lies in live might move
		s.live.table.Delete(0, k)
	}
}
