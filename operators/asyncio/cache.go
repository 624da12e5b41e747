package asyncio

import (
	"container/list"
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
)

// Cache holds answers, and says which requests ask for the same. It is used on
// the task's goroutine.
type Cache[T, A any] interface {
	// get returns the answer for a row, nil: there is none that is fresh.
	get(v T, now time.Time) *A
	// join makes r wait for a request in flight that asks for the same; false:
	// there is none, and r is that request from now on.
	join(r *request[T, A]) bool
	// settle keeps the answer of a request if that is wanted, and forgets that
	// it is in flight.
	settle(r *request[T, A], keep bool, now time.Time)
}

// NewCache returns a cache of answers by key. A fresh answer is at most ttl
// old; of more than entriesMax (at least 1) the one used longest ago goes. Keys
// are copied by their codec: a row's strings hold on to its whole batch.
func NewCache[K comparable, T, A any](key func(T) K, keys *codec.Codec[K], ttl time.Duration, entriesMax int) Cache[T, A] {
	return &cache[K, T, A]{
		key: key, keys: keys, ttl: ttl, most: entriesMax,
		entries: make(map[K]*list.Element), flying: make(map[K]*request[T, A]),
	}
}

type cache[K comparable, T, A any] struct {
	key     func(T) K
	keys    *codec.Codec[K]
	ttl     time.Duration
	most    int
	entries map[K]*list.Element
	recent  list.List // of *cached, the one used last first
	flying  map[K]*request[T, A]
}

type cached[K comparable, A any] struct {
	key    K
	answer A
	until  time.Time
}

func (c *cache[K, T, A]) get(v T, now time.Time) *A {
	el := c.entries[c.key(v)]
	if el == nil {
		return nil
	}
	e, _ := el.Value.(*cached[K, A])
	if !now.Before(e.until) {
		c.drop(el)
		return nil
	}
	c.recent.MoveToFront(el)
	return &e.answer
}

func (c *cache[K, T, A]) drop(el *list.Element) {
	e, _ := c.recent.Remove(el).(*cached[K, A])
	delete(c.entries, e.key)
}

func (c *cache[K, T, A]) join(r *request[T, A]) bool {
	k := c.key(r.row)
	if leader := c.flying[k]; leader != nil {
		leader.followers = append(leader.followers, r)
		return true
	}
	c.flying[k] = r
	return false
}

func (c *cache[K, T, A]) settle(r *request[T, A], keep bool, now time.Time) {
	k := c.key(r.row)
	if c.flying[k] == r {
		delete(c.flying, k)
	}
	if !keep {
		return
	}
	if el := c.entries[k]; el != nil {
		c.drop(el)
	}
	for len(c.entries) >= c.most {
		c.drop(c.recent.Back())
	}
	k = c.copy(k)
	c.entries[k] = c.recent.PushFront(&cached[K, A]{key: k, answer: r.result, until: now.Add(c.ttl)})
}

func (c *cache[K, T, A]) copy(k K) (out K) {
	if err := c.keys.DecodeKey(c.keys.AppendKey(nil, &k), &out); err != nil {
		panic(fmt.Sprintf("a key of the cache does not come back from its bytes: %v", err))
	}
	return out
}
