package pebblestate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state/statefile"
)

// Base implements state.Delta.
func (s *snapshot) Base() dataflow.CheckpointID { return s.base.cp }

// WriteDelta implements state.Delta. It reads the log of what was deleted, the
// table files that were written since the base, and the key groups that are to
// be whole.
func (s *snapshot) WriteDelta(w io.Writer, whole dataflow.KeyGroupRange) (int64, error) {
	if s.base.cp == 0 {
		return 0, fmt.Errorf("checkpoint %d has no base: its state has to be written whole", s.header.Checkpoint)
	}
	return s.write(w, s.deltaHeader(whole), (*chunker).delta)
}

func (s *snapshot) deltaHeader(whole dataflow.KeyGroupRange) statefile.Header {
	h := s.header
	h.Base, h.Whole, h.Dropped = s.base.cp, whole.Intersect(h.Groups), s.dropped()
	return h
}

// dropped returns the namespaces that were dropped since the base.
func (s *snapshot) dropped() (all []statefile.Namespace) {
	seen := map[droppedSpace]bool{}
	for _, g := range s.gone {
		for _, d := range g.dropped {
			if ft, ok := s.tables[d.table]; ok && g.epoch > s.base.epoch && !seen[d] {
				seen[d] = true
				all = append(all, statefile.Namespace{Table: ft.place, NS: d.ns})
			}
		}
	}
	return all
}

// delta writes what changed since the base: first what is gone, then what is
// there. Entries are young when they were written since.
func (c *chunker) delta() error {
	if err := c.gone(); err != nil {
		return err
	}
	if err := c.young(); err != nil {
		return err
	}
	if c.header.Whole.Len() == 0 {
		return nil
	}
	return c.wholeGroups()
}

// leaseStride is how many keys are visited between two looks at the lease.
const leaseStride = 1 << 12

// visit calls fn for keys from one on, of all tables or of the log, until
// there are none. fn may move the iterator and says so by errSought.
func (c *chunker) visit(o pebble.IterOptions, fn func(*pebble.Iterator) error) error {
	it, err := c.s.db.NewIter(&o)
	if err != nil {
		return err
	}
	seen := 0
	for ok := it.First(); ok && err == nil; {
		if seen++; seen%leaseStride == 0 {
			if err = c.s.lease.Check(); err != nil {
				break
			}
		}
		switch err = fn(it); {
		case errors.Is(err, errSought):
			ok, err = it.Valid(), nil
		case err == nil:
			ok = it.Next()
		}
	}
	stats := it.Stats()
	c.read += stats.InternalStats.BlockBytes
	return errors.Join(err, it.Close())
}

// young writes the young entries of key groups that are not whole.
func (c *chunker) young() error {
	filters := make([]pebble.BlockPropertyFilter, 1, 2) // the database adds one
	filters[0] = since(c.s.base.epoch)
	return c.visit(pebble.IterOptions{UpperBound: appendTable(nil, logTable), PointKeyFilters: filters}, func(it *pebble.Iterator) error {
		stored, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		val, epoch, err := cutEpoch(stored)
		if err != nil || epoch <= c.s.base.epoch {
			return err
		}
		return c.addYoung(it.Key(), val)
	})
}

func (c *chunker) addYoung(dbKey, val []byte) error {
	ft, at, key, err := c.find(dbKey)
	if err != nil || ft == nil || c.header.Whole.Contains(at.group) {
		return err
	}
	val, keep := ft.left(val)
	var in, sub []byte
	kind := runEntries
	if c.header.Tables[ft.place].Sub {
		if c.parsed, sub, err = parseHead(c.parsed[:0], key); err != nil || len(sub) == 0 {
			return err // heads follow from what is under them
		}
		in, key, kind = c.parsed, sub[1:], runSubs
	}
	if !keep { // the base may have it as it was
		kind += runDeleted
	}
	c.begin(kind, at, ft.place, in)
	c.entry(key, val)
	return c.full()
}

// wholeGroups writes all of the key groups that are to be whole. In each
// namespace they are one range, so it seeks there, if it is not near.
func (c *chunker) wholeGroups() error {
	const nearMax = 8 // steps that take less than a seek
	whole, steps := c.header.Whole, 0
	var to []byte
	return c.visit(pebble.IterOptions{UpperBound: appendTable(nil, logTable)}, func(it *pebble.Iterator) error {
		at, _, err := parsePrefix(it.Key())
		switch {
		case err != nil:
			return err
		case whole.Contains(at.group):
			steps = 0
			return c.add(it)
		case steps < nearMax:
			steps++
			return nil
		case at.group < whole.First:
			to = appendPrefix(to[:0], at.table, at.ns, whole.First)
		default:
			to = appendAfter(to[:0], it.Key()[:prefixBytes-groupBytes])
		}
		steps = 0
		it.SeekGE(to)
		return errSought
	})
}

// gone writes the deleted keys of key groups that are not whole.
func (c *chunker) gone() error {
	var log []byte
	o := pebble.IterOptions{LowerBound: appendLog(nil, c.s.base.epoch+1, 0), UpperBound: appendLog(nil, c.s.epoch+1, 0)}
	err := c.visit(o, func(it *pebble.Iterator) error {
		piece, err := valueAt(it)
		if err != nil {
			return err
		}
		if log = append(log, piece...); len(log) < statefile.ChunkBytesMax {
			return nil
		}
		err = c.addGone(log)
		log = log[:0]
		return err
	})
	return errors.Join(err, c.addGone(log))
}

// addGone writes the keys of a part of the log, once each and in order, so
// that those of a key group are together.
func (c *chunker) addGone(log []byte) error {
	var keys [][]byte
	for len(log) > 0 {
		n, used := binary.Uvarint(log)
		if used <= 0 || n > uint64(len(log)-used) {
			return errKey
		}
		keys = append(keys, log[used:used+int(n)])
		log = log[used+int(n):]
	}
	slices.SortFunc(keys, bytes.Compare)
	for _, dbKey := range slices.CompactFunc(keys, bytes.Equal) {
		ft, at, key, err := c.find(dbKey)
		if err != nil {
			return err
		}
		if ft == nil || c.header.Whole.Contains(at.group) {
			continue
		}
		var in []byte
		kind := runEntries
		if c.header.Tables[ft.place].Sub {
			var sub []byte
			if c.parsed, sub, err = parseHead(c.parsed[:0], key); err != nil {
				return err
			}
			key = c.parsed
			if len(sub) > 0 {
				in, key, kind = c.parsed, sub[1:], runSubs
			}
		}
		c.begin(kind+runDeleted, at, ft.place, in)
		c.entry(key, nil)
		if err := c.full(); err != nil {
			return err
		}
	}
	return nil
}
