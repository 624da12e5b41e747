package memstate

// A delta has to know which entries were written since its base. Each entry
// carries the epoch of its last write modulo stampModulus, from 1; 0 is old.
// What the number means follows from the epoch in which its page was last
// written, which is never before that of an entry in it.
const (
	stampModulus = 127
	// recentEpochs is the age up to which stamps tell epochs: a base older
	// than that is not used.
	recentEpochs = 60
	// scrubEpochs is the number of epochs after which a page that is written
	// to is rid of stamps older than recentEpochs. So none is ever older than
	// both together when its page is written, and taken for a younger one.
	// Invariant: recentEpochs + scrubEpochs < stampModulus.
	scrubEpochs = 64
)

const (
	// restoreEpoch is that of what was restored, firstEpoch the one after.
	restoreEpoch = 1
	firstEpoch   = 2
)

func stampOf(epoch uint32) uint32 { return (1 + epoch%stampModulus) << flagBits }

func (b *Backend) setEpoch(epoch uint32) { b.epoch, b.stamp = epoch, stampOf(epoch) }

// writtenIn returns the epoch in which an entry with that word 0 was written,
// 0 when it is an old one. page is the epoch of its page.
func writtenIn(w, page uint32) uint32 {
	stamp := w & stampMask >> flagBits
	if stamp == 0 {
		return 0
	}
	age := (stampModulus + 1 + page%stampModulus - stamp) % stampModulus
	if age >= page {
		return 0
	}
	return page - age
}

// fade takes the stamp out of an entry that is too old for it.
func (b *Backend) fade(e []byte, page uint32) {
	w := word(e, 0)
	if w&stampMask != 0 && writtenIn(w, page)+recentEpochs < b.epoch {
		setWord(e, 0, w&^ageMask)
	}
}

// scrub takes old stamps out of a page, which is the store's own but not yet
// written to in this epoch.
func (s *store) scrub(p uint32) {
	b := s.owner.b
	s.owner.layout.eachIn(p, s.pages.bufs[p], func(_ reference, e []byte) bool {
		b.fade(e, s.pages.epochs[p])
		return true
	})
	s.meta[p].scrubbed = b.epoch
}

// carry brings the stamp of an entry that was copied out of a page of the
// given epoch to what it means in one of this.
func (s *store) carry(e []byte, page uint32) { s.owner.b.fade(e, page) }
