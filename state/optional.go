package state

// EntryBytesMax bounds a value: each is smaller. A backend
// panics on a larger one, because an operator has no way to go on: such a
// value belongs in a list or a map of smaller ones.
const EntryBytesMax = 1 << 28

// KeyBytesMax bounds a key with its subkey, as EntryBytesMax bounds the rest.
const KeyBytesMax = 1 << 21

// BatchUpserter is implemented by tables that are faster when they know many
// keys at once. Operators on batches ask for it with a type assertion.
type BatchUpserter interface {
	// UpsertBatch does what Upsert does for each of the keys: vals[i] becomes
	// the value of keys[i] in place, and created[i], unless created is nil,
	// says whether it is new. Equal keys get the same bytes. vals and created
	// are at least as long as keys; all values are valid until the next call
	// on the table.
	UpsertBatch(ns int64, keys []Key, vals [][]byte, created []bool)
}

// BatchScanner is implemented by tables that are faster when they give out many
// entries at once. Operators on batches ask for it with a type assertion.
type BatchScanner interface {
	// ScanBatch does what Scan does for some entries with each call of fn:
	// vals[i] is the value of keys[i]. Both are borrowed until fn returns, which
	// must not use the table but may use others. Tables that hold the same keys
	// are gone through in about the same order, in whatever order they were
	// written, so that what fn reads of another one lies close together.
	ScanBatch(ns int64, fn func(keys []Key, vals [][]byte) bool)
}

// Overwriter is implemented by tables of values of a fixed size that write a
// value for less when nobody wants the old one: no read of what is stored.
type Overwriter interface {
	// Overwrite returns the value in place for a caller that writes all of its
	// bytes; what they are before is not said. It is valid until the next call
	// on the table.
	Overwrite(ns int64, k Key) (val []byte)
}

// Estimator is implemented by tables for which Len may have to read.
type Estimator interface {
	// LenAbout returns Len, or about as much where to count takes long.
	LenAbout() int
}

// Prefetcher is implemented by tables that answer faster for keys that they
// were told of ahead. Operators on batches ask for it with a type assertion.
type Prefetcher interface {
	// Prefetch says that the keys of a namespace, some hundreds at most, are
	// asked for next. It changes nothing that can be seen, but what was
	// returned before is no more valid.
	Prefetch(ns int64, keys []Key)
}

// Appender is implemented by tables of values that vary in size when they can
// append to a value without writing it anew.
type Appender interface {
	// Append adds val to the end of the value, which is empty when it did not
	// exist. val is copied.
	Append(ns int64, k Key, val []byte)
}

// Trim says what is left of a value: the value itself, another one of the
// table's kind (of equal size where sizes are fixed), or, with keep false,
// nothing. It neither keeps nor changes val.
type Trim func(val []byte) (left []byte, keep bool)

// Sweeper is implemented by tables that remove what has expired without being
// asked for it by key. State with a TTL needs it.
type Sweeper interface {
	// Sweep calls trim for about n values, in all namespaces, from where the
	// call before stopped, and makes each what trim leaves of it. It returns
	// true when it came to the end; the next call starts a new round. The table
	// may change between calls: what is added or moved meanwhile may be seen in
	// the next round only. trim must not use the table.
	Sweep(n int, trim Trim) (end bool)
	// OnSnapshot sets what Snapshot calls first, on the task's goroutine. The
	// Trim that fn returns decides what the snapshot holds of the table; it is
	// called later, on any goroutine. fn may write to the backend.
	OnSnapshot(fn func() Trim)
}

// Rewrite makes an entry of a table of an older descriptor one of the new. sub
// is nil in tables without subkeys. What it returns is borrowed until the next
// call and may be what it was given.
type Rewrite func(sub, val []byte) (newSub, newVal []byte, err error)

// Migrator is implemented by backends that can change the descriptor of a
// table that was restored: state of a type that has changed needs it.
type Migrator interface {
	// Restored returns the descriptor of the restored table of that name; ok
	// is false when there is none, or when Table has been called for it.
	Restored(name string) (d Descriptor, ok bool)
	// Migrate gives the restored table of d.Name the descriptor d, which has
	// Sub in common with the old one, and makes each entry what rewrite says.
	// The order of a map's entries stays. It needs little more memory than the
	// table has before or after. After an error the backend must be closed.
	Migrate(d Descriptor, rewrite Rewrite) error
}
