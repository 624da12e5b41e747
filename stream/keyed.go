package stream

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
)

// KeyedStream is a stream whose rows are partitioned by a key: all rows of a
// key meet in one subtask of the next step.
type KeyedStream[K comparable, T any] struct {
	stream *DataStream[T] // with hash partitioning
	key    func(T) K
	hasher columnar.KeyHasher
	codec  *codec.Codec[K]
}

// KeyBy partitions a stream by a key that depends on the row alone.
func KeyBy[T any, K comparable](d *DataStream[T], key func(T) K) *KeyedStream[K, T] {
	where := callSite()
	k := &KeyedStream[K, T]{key: key, stream: d}
	needFunctions(d.env, where, "KeyBy", key == nil)
	c, err := codec.Of[K]()
	if err != nil {
		d.env.fail(where, "key: %w", err)
		return k
	}
	h, err := columnar.HasherOf(key)
	if err != nil {
		d.env.fail(where, "key: %w", err)
		return k
	}
	k.codec, k.hasher = c, h
	k.stream = d.spread(graph.Hash, h, nil)
	return k
}
