package statefile

import (
	"errors"
	"fmt"
	"io"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

// Loader takes in what Load reads. Its Visitor is called between Begin and End
// with what belongs to one key group, and keys that belong there.
type Loader interface {
	Visitor
	// Table is called for each table of the file, in order, before all else.
	Table(d state.Descriptor) error
	Begin(g dataflow.KeyGroup)
	End() error
}

// Load reads the part of a file that is of the given key groups into l. A file
// of another maximum parallelism is refused.
func Load(r io.Reader, groups dataflow.KeyGroupRange, maxParallelism int, l Loader) error {
	fr, err := NewReader(r)
	if err != nil {
		return err
	}
	h := fr.Header()
	if h.MaxParallelism != maxParallelism {
		return fmt.Errorf("state was written with maximum parallelism %d, the job has %d: start the job with %d", h.MaxParallelism, maxParallelism, h.MaxParallelism)
	}
	for _, d := range h.Tables {
		if err := l.Table(d); err != nil {
			return err
		}
	}
	var entries int64
	want := groups.Intersect(h.Groups)
	for {
		s, err := fr.Next(want)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		l.Begin(s.Group)
		n, err := h.Parse(s, l)
		if err != nil {
			return err
		}
		if err := l.End(); err != nil {
			return err
		}
		entries += n
	}
	if want == h.Groups && entries != fr.Entries() {
		return corrupt("end mark counts %d entries, found %d", fr.Entries(), entries)
	}
	return nil
}

// KeyIn returns a key of the file with its hash; it is corrupt when it does
// not belong to the key group that it lies in.
func KeyIn(key []byte, g dataflow.KeyGroup, maxParallelism int) (state.Key, error) {
	k := state.Key{Bytes: key, Hash: codec.HashKey(key)}
	if belongs := dataflow.KeyGroupOf(k.Hash, maxParallelism); belongs != g {
		return k, corrupt("key %x belongs to key group %d but lies in key group %d", key, belongs, g)
	}
	return k, nil
}
