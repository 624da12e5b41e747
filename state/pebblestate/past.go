package pebblestate

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

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
	gone       []gone // by epoch, ascending
	log        []byte // the end of the last, not yet in the database
	bytes      int64  // of the log
	dropped    int    // namespaces in gone
}

// taken is a snapshot, or what was restored.
type taken struct {
	cp     dataflow.CheckpointID // 0: none
	epoch  uint32
	values uint64 // epoch of the group values
}

// gone is what was deleted in one epoch. The keys lie in the database, in
// pieces: each is a list of keys with their lengths before them.
type gone struct {
	epoch   uint32
	pieces  uint32
	bytes   int64 // of the pieces
	dropped []droppedSpace
}

// droppedSpace is a namespace that was dropped as a whole.
type droppedSpace struct {
	ns    int64
	table uint16
}

const (
	// takenMax bounds the snapshots of which it is not known whether they were
	// committed: what nobody commits in so long nobody will.
	takenMax = 64
	// logBytesMin is what the log may take of a small state, logShare the part
	// of a large one, of which the size is known as it is compressed. Beyond it,
	// all is written anew: a delta would be large.
	logBytesMin = 64 << 10
	logShare    = 2
	logPiece    = 16 << 10
	// droppedMax bounds the dropped namespaces in the header of a delta.
	droppedMax   = 1 << 20
	droppedBytes = 16
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
	b.forgetGone(p.base.epoch)
}

// usable returns the base of a snapshot taken now, one without number when
// there is none.
func (b *Backend) usable() taken {
	if b.past.base.epoch < b.past.incomplete {
		return taken{}
	}
	return b.past.base
}

// took books a snapshot of the epoch that ends.
func (b *Backend) took(t taken) {
	p := &b.past
	if len(p.taken) == takenMax {
		p.taken = slices.Delete(p.taken, 0, 1)
	}
	if t.cp != 0 {
		p.taken = append(p.taken, t)
	}
	p.logging = true
}

// startAnew gives up the log: no delta adds to a snapshot of an earlier epoch.
func (b *Backend) startAnew() {
	b.past.incomplete, b.past.logging = b.epoch.Load(), false
	b.past.log = b.past.log[:0]
	b.forgetGone(b.past.incomplete)
}

// goneNow returns what was deleted in this epoch.
func (b *Backend) goneNow() *gone {
	p, epoch := &b.past, b.epoch.Load()
	if n := len(p.gone); n > 0 && p.gone[n-1].epoch == epoch {
		return &p.gone[n-1]
	}
	p.gone = append(p.gone, gone{epoch: epoch})
	return &p.gone[len(p.gone)-1]
}

// forgetGone gives up what was deleted in epochs up to last. A snapshot may
// have it.
func (b *Backend) forgetGone(last uint32) {
	n, p := 0, &b.past
	for n < len(p.gone) && p.gone[n].epoch <= last {
		g := &p.gone[n]
		p.bytes -= g.bytes
		p.dropped -= len(g.dropped)
		b.cached.Add(-droppedBytes * int64(len(g.dropped)))
		b.forgetPieces(g)
		n++
	}
	p.gone = slices.Delete(p.gone, 0, n)
}

func (b *Backend) forgetPieces(g *gone) {
	if g.pieces > deleteOneByOneMax {
		b.deleteRange(appendLog(nil, g.epoch, 0), appendLog(nil, g.epoch+1, 0), int(g.pieces))
		return
	}
	var key [prefixBytes]byte
	for i := range g.pieces {
		b.delete(appendLog(key[:0], g.epoch, i))
	}
	b.apply()
}

// note says that a key of the database is deleted, which a snapshot may have.
func (b *Backend) note(key []byte) {
	p := &b.past
	if !p.logging {
		return
	}
	p.log = append(binary.AppendUvarint(p.log, uint64(len(key))), key...)
	if len(p.log) >= logPiece {
		b.putLog()
	}
}

// noteDrop says that a namespace is dropped of which the database has keys.
func (b *Backend) noteDrop(table uint16, ns int64) {
	p := &b.past
	if !p.logging {
		return
	}
	g := b.goneNow()
	g.dropped = append(g.dropped, droppedSpace{ns, table})
	b.cached.Add(droppedBytes)
	if p.dropped++; p.dropped > droppedMax {
		b.startAnew()
	}
}

// putLog writes the end of the log, which is of this epoch, to the database.
func (b *Backend) putLog() {
	p := &b.past
	if len(p.log) == 0 {
		return
	}
	g := b.goneNow()
	var key [prefixBytes]byte
	b.set(appendLog(key[:0], g.epoch, g.pieces), p.log)
	g.pieces++
	g.bytes += int64(len(p.log))
	p.bytes += int64(len(p.log))
	p.log = p.log[:0]
	if p.bytes > logBytesMin && p.bytes > b.storedBytes()/logShare {
		b.startAnew()
	}
}

// storedBytes is about the size of the database.
func (b *Backend) storedBytes() (n int64) {
	b.metrics(func(m *pebble.Metrics) { n = int64(m.MemTable.Size) + m.Total().TablesSize })
	return n
}
