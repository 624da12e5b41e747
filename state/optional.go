package state

// EntryBytesMax bounds a key, a subkey and a value: each is smaller. A backend
// panics on a larger one, because an operator has no way to go on: such a
// value belongs in a list or a map of smaller ones.
const EntryBytesMax = 1 << 28

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

// Appender is implemented by tables of values that vary in size when they can
// append to a value without writing it anew.
type Appender interface {
	// Append adds val to the end of the value, which is empty when it did not
	// exist. val is copied.
	Append(ns int64, k Key, val []byte)
}
