// Package pebblestate is the state backend for state larger than memory: an
// LSM tree (Pebble) on local disk behind a write-back cache, within a memory
// budget. It is not durable by itself: there is no write-ahead log and nothing
// is synced, because what survives a crash is a checkpoint, in the form of
// state/statefile. The folder is scratch and is removed with the backend.
//
// How the parts lie on each other: a Store is one for a process and holds the
// block cache that its Backends share. A Backend holds one database and its
// tables; a table holds a cache of entries, by hash, in front of the database.
// All reads go through the cache. A write changes the cached entry and marks
// it; marked entries reach the database together, when the cache must evict
// one of them, when a range of the database is to be read, or at a snapshot.
// Entries of namespaces that come and go within the cache never reach it.
//
// The forms of keys are drawn in docs/formats/pebble-state.md.
package pebblestate
