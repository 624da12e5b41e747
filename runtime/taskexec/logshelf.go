package taskexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// logsMax bounds the logs that are kept of workers that have gone; the oldest
// go first.
const logsMax = 256

// logShelf keeps the logs of workers, also after their end.
type logShelf struct {
	dir string

	mu      sync.Mutex
	entries []*shelfEntry // guarded by mu; in order of start
}

type shelfEntry struct {
	job, worker string
	log         *LogFile
	finished    bool
}

// newLogShelf starts an empty shelf; logs of earlier processes are removed,
// so that their number stays bounded.
func newLogShelf(dir string) *logShelf {
	entries, err := os.ReadDir(dir)
	if err == nil {
		for _, e := range entries {
			if e.IsDir() {
				_ = os.RemoveAll(filepath.Join(dir, e.Name())) // tried again at the next start
			}
		}
	}
	return &logShelf{dir: dir}
}

func (s *logShelf) open(job, worker string) (*LogFile, error) {
	if err := errors.Join(checkID(job), checkID(worker)); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, job)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("worker's log: %w", err)
	}
	l, err := OpenLog(filepath.Join(dir, worker+".log"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, &shelfEntry{job: job, worker: worker, log: l})
	return l, nil
}

// find returns the log of a worker, or of the newest worker of a job.
func (s *logShelf) find(job, worker string) *LogFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.entries) - 1; i >= 0; i-- {
		if e := s.entries[i]; e.job == job && (worker == "" || e.worker == worker) {
			return e.log
		}
	}
	return nil
}

// finished closes a worker's log and makes room for newer ones.
func (s *logShelf) finished(worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := 0
	for _, e := range s.entries {
		if e.worker == worker {
			e.finished = true
			_ = e.log.Close() // what was written stays readable
		}
		if e.finished {
			ended++
		}
	}
	kept := s.entries[:0]
	for _, e := range s.entries {
		if e.finished && ended > logsMax {
			ended--
			_ = e.log.remove()                         // removed with the shelf at the next start
			_ = os.Remove(filepath.Join(s.dir, e.job)) // if it was the job's last
			continue
		}
		kept = append(kept, e)
	}
	s.entries = kept
}

func (s *logShelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		_ = e.log.Close() // what was written stays readable
	}
}
