package pebblestate

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// Sizes of the memory budget.
const (
	// MemoryDefault is the budget of a Store when none is given.
	MemoryDefault = 128 << 20
	// MemoryMin is the least budget; a smaller one is taken as this.
	MemoryMin = 1 << 20

	memTableShare   = 8 // of the budget, each backend has up to two
	memTableMin     = 64 << 10
	memTableMax     = 64 << 20
	tableCacheShare = 32 // of the budget, each table has up to one
	tableCacheMin   = 16 << 10
	tableCacheMax   = 16 << 20
	openFilesMax    = 500

	// l0Tables memtables are gathered before they are merged into the level
	// below. That level is kept as large as they are, up to a bound: each merge
	// rewrites it, and a larger one would be rewritten for little.
	l0Tables     = 4
	baseLevelMin = 1 << 20
	baseLevelMax = 64 << 20
	tableFileMin = 256 << 10
	tableFileMax = 4 << 20
)

// Config is what a Store is made of.
type Config struct {
	// Dir is the folder for the databases. It is scratch: Open removes what is
	// in it, and Close the folder itself. Nobody else may use it.
	Dir string
	// MemoryBytes bounds the blocks cached and the memtables of all backends
	// together; MemoryDefault when 0. Each table adds a write-back cache of up
	// to a 32nd of it, at most 16 MiB.
	MemoryBytes int64
	// Log gets what the databases complain of; nil drops it.
	Log *slog.Logger

	fs vfs.FS // nil: the disk
	// For tests: puts do not look above so many keys, also in tables that were
	// asked for lengths; 0: as blindMin says.
	blindAbove int
}

var _ state.Backends = (*Store)(nil)

// Store makes the backends of a process, which share its memory budget. It is
// safe for concurrent use.
type Store struct {
	cfg   Config
	fs    vfs.FS
	cache *pebble.Cache

	mu struct {
		sync.Mutex
		opened int // numbers the folders
		open   int // backends whose database is open
		closed bool
	}
}

// Open makes the folder, empty, and the cache.
func Open(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("pebblestate: no folder given")
	}
	if cfg.MemoryBytes < 0 {
		return nil, fmt.Errorf("pebblestate: memory of %d bytes: give a positive number, or 0 for %d", cfg.MemoryBytes, MemoryDefault)
	}
	if cfg.MemoryBytes == 0 {
		cfg.MemoryBytes = MemoryDefault
	}
	cfg.MemoryBytes = max(cfg.MemoryBytes, MemoryMin)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, fs: cfg.fs}
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if err := s.fs.RemoveAll(cfg.Dir); err != nil {
		return nil, s.folderError("remove", err)
	}
	if err := s.fs.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, s.folderError("make", err)
	}
	s.cache = pebble.NewCache(cfg.MemoryBytes)
	return s, nil
}

func (s *Store) folderError(op string, err error) error {
	return &state.StorageError{Op: op, Path: s.cfg.Dir, Err: err}
}

// New opens the keyed state of one operator's subtask, empty.
func (s *Store) New(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, errors.New("pebblestate: the store is closed")
	}
	dir := s.fs.PathJoin(s.cfg.Dir, strconv.Itoa(s.mu.opened))
	s.mu.opened++
	b := newBackend(s, dir, groups, maxParallelism)
	db, err := pebble.Open(dir, s.options(b))
	if err == nil {
		err = b.Err()
	}
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return nil, &state.StorageError{Op: "open", Path: dir, Err: errors.Join(err, s.fs.RemoveAll(dir))}
	}
	b.db = db
	s.mu.open++
	return b, nil
}

// Close gives up the cache and removes the folder. Backends must be closed
// before, and their snapshots released.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil
	}
	if s.mu.open > 0 {
		return fmt.Errorf("pebblestate: %d backends of %s are open", s.mu.open, s.cfg.Dir)
	}
	s.mu.closed = true
	s.cache.Unref()
	if err := s.fs.RemoveAll(s.cfg.Dir); err != nil {
		return s.folderError("remove", err)
	}
	return nil
}

// closed books that a backend has closed its database.
func (s *Store) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.open--
}

func share(budget, of, least, most int64) int64 { return min(max(budget/of, least), most) }

// options are those of a database of scratch data that one goroutine writes.
func (s *Store) options(b *Backend) *pebble.Options {
	memTable := share(s.cfg.MemoryBytes, memTableShare, memTableMin, memTableMax)
	o := &pebble.Options{
		FS:                          b.disk,
		Cache:                       s.cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		MaxOpenFiles:                openFilesMax,
		MemTableSize:                uint64(memTable),
		MemTableStopWritesThreshold: 2,
		L0CompactionThreshold:       l0Tables,
		L0StopWritesThreshold:       4 * l0Tables,
		LBaseMaxBytes:               min(max(2*l0Tables*memTable, baseLevelMin), baseLevelMax),
		Logger:                      b.disk,
		EventListener:               b.disk.listener(),
		BlockPropertyCollectors:     []func() pebble.BlockPropertyCollector{b.collector},
	}
	o.TargetFileSizes[0] = min(max(memTable/2, tableFileMin), tableFileMax)
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom10
	}
	return o
}
