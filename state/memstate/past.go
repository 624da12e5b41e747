package memstate

import (
	"encoding/binary"
	"slices"

	"github.com/leatstream/leat/dataflow"
)

// past is what a backend knows of earlier snapshots: which of them a delta may
// add to, and what was deleted since.
type past struct {
	taken []taken // not known to be committed, oldest first
	base  taken   // the newest that is, or what was restored

	// logging says that deletions are noted. What was deleted in epochs up to
	// incomplete is not known.
	logging    bool
	incomplete uint32
	bytes      int64 // of the logs
	dropped    int   // namespaces in them
}

// taken is a snapshot, or what was restored.
type taken struct {
	cp     dataflow.CheckpointID // 0: none
	epoch  uint32
	values uint64 // epoch of the group values
}

const (
	// pastBytesMin is what logs may take of a small state, pastShare the part
	// of a large one. Beyond it, all is written anew: a delta would be large.
	pastBytesMin = 64 << 10
	pastShare    = 4
	// pastBytesMax keeps places in a log within 32 bits.
	pastBytesMax = 1 << 30
	// pastDroppedMax bounds the dropped namespaces in the header of a delta.
	pastDroppedMax = 1 << 20
)

// Committed implements state.Incremental.
func (b *Backend) Committed(cp dataflow.CheckpointID) {
	p := &b.past
	i := slices.IndexFunc(p.taken, func(t taken) bool { return t.cp == cp })
	if i < 0 {
		return
	}
	p.base = p.taken[i]
	p.taken = slices.Delete(p.taken, 0, i+1)
	for _, t := range b.tables {
		t.forgetGone(p.base.epoch)
	}
}

// usable returns the base of a snapshot taken now, one without number when
// there is none.
func (b *Backend) usable() taken {
	base := b.past.base
	if base.epoch < b.past.incomplete || b.epoch-base.epoch > recentEpochs {
		return taken{}
	}
	return base
}

// took books a snapshot of the epoch that ends.
func (b *Backend) took(t taken) {
	p := &b.past
	for len(p.taken) > 0 && t.epoch-p.taken[0].epoch > recentEpochs {
		p.taken = slices.Delete(p.taken, 0, 1)
	}
	if t.cp != 0 {
		p.taken = append(p.taken, t)
	}
	p.logging = true
}

// startAnew gives up the logs: no delta adds to a snapshot of an earlier epoch.
func (b *Backend) startAnew() {
	b.past.incomplete, b.past.logging = b.epoch, false
	for _, t := range b.tables {
		t.forgetGone(b.epoch)
	}
}

// gone is what was deleted from a table in one epoch. A snapshot shares it as
// soon as the epoch is over.
type gone struct {
	epoch   uint32
	dropped []int64 // namespaces
	// log holds the keys and subkeys: 8 bytes namespace, a uvarint of the
	// key's length << 1, plus 1 with a subkey, key, and with a subkey the
	// uvarint of its length and subkey.
	log []byte
}

// goneNow returns the log of this epoch.
func (t *table) goneNow() *gone {
	if n := len(t.gone); n > 0 && t.gone[n-1].epoch == t.b.epoch {
		return &t.gone[n-1]
	}
	t.gone = append(t.gone, gone{epoch: t.b.epoch})
	return &t.gone[len(t.gone)-1]
}

// forgetGone gives up the logs of epochs up to last. A snapshot may have them.
func (t *table) forgetGone(last uint32) {
	n, p := 0, &t.b.past
	for n < len(t.gone) && t.gone[n].epoch <= last {
		p.dropped -= len(t.gone[n].dropped)
		t.b.logged(-t.gone[n].bytes())
		n++
	}
	t.gone = slices.Delete(t.gone, 0, n)
}

const droppedBytes = 8

func (g *gone) bytes() int64 { return int64(len(g.log) + droppedBytes*len(g.dropped)) }

func (b *Backend) logged(bytes int64) {
	b.past.bytes += bytes
	b.bytes.Add(bytes)
	if bytes > 0 && (b.past.bytes > min(pastBytesMax, max(pastBytesMin, b.bytes.Load()/pastShare)) || b.past.dropped > pastDroppedMax) {
		b.startAnew()
	}
}

// isNew reports whether an entry was made in this epoch: no snapshot has it.
func (s *store) isNew(r reference) bool {
	w := word(s.own(r), 0)
	return w&flagNew != 0 && w&stampMask == s.owner.b.stamp
}

// noteKey notes that the entry of a key, in sub tables its head, is about to
// be deleted.
func (s *space) noteKey(r reference, key []byte) {
	if t := s.owner; t.b.past.logging && !s.isNew(r) {
		t.noteGone(s.pages.ns, key, nil, false)
	}
}

// noteSub notes that an entry under a key is about to be deleted.
func (s *space) noteSub(r reference) {
	if t := s.owner; t.b.past.logging && !s.isNew(r) {
		key, sub := s.parts(s.at(r))
		t.noteGone(s.pages.ns, key, sub, true)
	}
}

func (t *table) noteGone(ns int64, key, sub []byte, isSub bool) {
	g := t.goneNow()
	was := len(g.log)
	b := binary.LittleEndian.AppendUint64(g.log, uint64(ns))
	if isSub {
		b = append(binary.AppendUvarint(b, uint64(len(key))<<1|1), key...)
		b = append(binary.AppendUvarint(b, uint64(len(sub))), sub...)
	} else {
		b = append(binary.AppendUvarint(b, uint64(len(key))<<1), key...)
	}
	g.log = b
	t.b.logged(int64(len(b) - was))
}

// noteDrop notes that a namespace is about to be dropped.
func (t *table) noteDrop(s *space) {
	if !t.b.past.logging || s.born == t.b.epoch {
		return // what was in the namespace before it was made was deleted then
	}
	g := t.goneNow()
	g.dropped = append(g.dropped, s.pages.ns)
	t.b.past.dropped++
	t.b.logged(droppedBytes)
}

// at reads the record at a place in the log, and returns where the next begins.
func (g *gone) at(i int) (ns int64, key, sub []byte, isSub bool, next int) {
	blob := func(n int) []byte { i += n; return g.log[i-n : i : i] }
	length := func() uint64 {
		v, n := binary.Uvarint(g.log[i:])
		i += n
		return v
	}
	ns = int64(binary.LittleEndian.Uint64(blob(8)))
	n := length()
	key = blob(int(n >> 1))
	if n&1 != 0 {
		sub = blob(int(length()))
	}
	return ns, key, sub, n&1 != 0, i
}
