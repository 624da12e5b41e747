package pebblestate

import (
	"bytes"
	"math/bits"
	"sync/atomic"

	"github.com/leatstream/leat/dataflow"
)

// kind says what an entry is of.
type kind uint8

const (
	kindValue kind = iota // (namespace, key) of a table without subkeys
	kindHead              // (namespace, key) of a table with subkeys: how many
	kindSub               // (namespace, key, subkey)
)

// entry is one key of the database as the task sees it. Absent keys have
// entries, too: to know that a key is absent costs a read.
type entry struct {
	hash   uint64
	ns     *namespace
	name   []byte // key, then subkey
	val    []byte
	key    uint32 // bytes of the key in name
	group  dataflow.KeyGroup
	kind   kind
	live   bool // the slot is in use
	there  bool // the key has a value
	stored bool // the database has the key, or may have it if unsure
	unsure bool // put without a look: whether the key is new is not known
	dirty  bool // the database is to be told
	noted  bool // that it was deleted is in the log already
	listed bool // the slot is in cache.marked
	recent bool // used since the hand last passed

	next       int32 // in the bucket, or in the free list; -1: none
	nsNext     int32 // in the namespace's list
	nsPrevious int32
}

const (
	none       = -1
	entryBytes = 136     // an entry and its share of the buckets
	keepBytes  = 4 << 10 // larger buffers of evicted entries are given back
	bucketsMin = 16
)

// cache finds entries by hash, and chooses which to evict. It evicts only
// when it is told to, so that what was found stays where it is until then.
type cache struct {
	entries []entry
	buckets []int32
	free    int32
	marked  []int32 // slots to write; a slot is in it once, dirty or not
	hand    int
	used    int   // slots in use
	bytes   int64 // of slots in use and their buffers
	max     int64
	total   *atomic.Int64 // bytes of all caches of the backend
	scratch []byte
}

func newCache(limit int64, total *atomic.Int64) *cache {
	c := &cache{free: none, max: limit, total: total}
	c.rehash(bucketsMin)
	return c
}

func (c *cache) rehash(n int) {
	c.buckets = make([]int32, n)
	for i := range c.buckets {
		c.buckets[i] = none
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.live {
			b := &c.buckets[e.hash>>c.shift()]
			e.next, *b = *b, int32(i)
		}
	}
}

// shift leaves as many high bits of a hash as number the buckets.
func (c *cache) shift() int { return 64 - bits.TrailingZeros(uint(len(c.buckets))) }

// find returns the slot of an entry, or none.
func (c *cache) find(n *namespace, hash uint64, k kind, key, sub []byte) int32 {
	for i := c.buckets[hash>>c.shift()]; i != none; i = c.entries[i].next {
		e := &c.entries[i]
		if e.hash == hash && e.ns == n && e.kind == k && e.is(key, sub) {
			e.recent = true
			return i
		}
	}
	return none
}

func (e *entry) is(key, sub []byte) bool {
	if e.kind != kindSub {
		return bytes.Equal(e.name, key)
	}
	return int(e.key) == len(key) && len(e.name) == len(key)+len(sub) &&
		bytes.Equal(e.name[:e.key], key) && bytes.Equal(e.name[e.key:], sub)
}

// add makes an entry, which is absent and clean.
func (c *cache) add(n *namespace, hash uint64, k kind, key, sub []byte) (int32, *entry) {
	if c.used >= len(c.buckets) {
		c.rehash(2 * len(c.buckets))
	}
	i := c.free
	if i == none {
		c.entries = append(c.entries, entry{})
		i = int32(len(c.entries) - 1)
	} else {
		c.free = c.entries[i].next
	}
	e := &c.entries[i]
	name := key
	if len(sub) > 0 { // either may lie in the buffer of the slot, which was in use
		c.scratch = append(append(c.scratch[:0], key...), sub...)
		name = c.scratch
	}
	*e = entry{
		hash: hash, ns: n, kind: k, live: true, listed: e.listed, recent: true, key: uint32(len(key)),
		name: append(e.name[:0], name...), val: e.val[:0], nsPrevious: none, nsNext: n.first,
	}
	if n.first != none {
		c.entries[n.first].nsPrevious = i
	}
	n.first = i
	n.cached++
	b := &c.buckets[hash>>c.shift()]
	e.next, *b = *b, i
	c.used++
	c.count(e.bytes())
	return i, e
}

func (e *entry) bytes() int64 { return entryBytes + int64(cap(e.name)) + int64(cap(e.val)) }

func (c *cache) count(n int64) {
	c.bytes += n
	c.total.Add(n)
}

// mark says that the database is to be told of an entry.
func (c *cache) mark(i int32) {
	e := &c.entries[i]
	e.dirty = true
	if !e.listed {
		e.listed = true
		c.marked = append(c.marked, i)
	}
}

// setValue replaces the value; what it held may overlap val.
func (c *cache) setValue(e *entry, val []byte) {
	if cap(e.val) < len(val) {
		was := cap(e.val)
		e.val = make([]byte, 0, len(val))
		c.count(int64(cap(e.val) - was))
	}
	e.val = e.val[:len(val)]
	copy(e.val, val)
}

// appendValue adds to the value. Its buffer grows by doubling.
func (c *cache) appendValue(e *entry, val []byte) {
	was := cap(e.val)
	e.val = append(e.val, val...)
	c.count(int64(cap(e.val) - was))
}

// remove forgets an entry, whether it is clean or not.
func (c *cache) remove(i int32) {
	e := &c.entries[i]
	at := &c.buckets[e.hash>>c.shift()]
	for *at != i {
		at = &c.entries[*at].next
	}
	*at = e.next
	if e.nsPrevious == none {
		e.ns.first = e.nsNext
	} else {
		c.entries[e.nsPrevious].nsNext = e.nsNext
	}
	if e.nsNext != none {
		c.entries[e.nsNext].nsPrevious = e.nsPrevious
	}
	e.ns.cached--
	c.used--
	c.count(-e.bytes())
	if cap(e.name) > keepBytes {
		e.name = nil
	}
	if cap(e.val) > keepBytes {
		e.val = nil
	}
	e.live, e.dirty, e.unsure, e.noted, e.ns = false, false, false, false, nil
	e.next, c.free = c.free, i
}

// victim returns the slot to evict next: the first that was not used since
// the hand last came by. There must be one in use.
func (c *cache) victim() int32 {
	for {
		if c.hand >= len(c.entries) {
			c.hand = 0
		}
		e := &c.entries[c.hand]
		if e.live && !e.recent {
			return int32(c.hand)
		}
		e.recent = false
		c.hand++
	}
}
