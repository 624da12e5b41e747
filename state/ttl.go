package state

import (
	"fmt"
	"time"
)

// TTL says how long state lives. Each value, each element of a list and each
// entry of a map has an age of its own. What has expired is removed without
// being read, a few entries with each batch, and is in no snapshot.
type TTL struct {
	// After is how long an entry lives after its last update, at least a
	// millisecond. State that comes from a snapshot lives as long as After
	// says now, counted from its last update.
	After time.Duration
	// Update says what counts as an update.
	Update TTLUpdate
	// Visibility says whether state that has expired can still be read.
	Visibility TTLVisibility
	// Time is the time that age is measured in.
	Time TTLTime
}

// TTLUpdate says what makes state young again.
type TTLUpdate uint8

// What counts as an update of state.
const (
	// OnCreateAndWrite counts what changes the state.
	OnCreateAndWrite TTLUpdate = iota
	// OnReadAndWrite counts what reads it, too. Asking whether or how much
	// there is (Contains, Len) is no read.
	OnReadAndWrite
)

// TTLVisibility says whether state that has expired can still be read.
type TTLVisibility uint8

// Whether state that has expired can be read.
const (
	// NeverReturnExpired makes it be gone at the moment it expires.
	NeverReturnExpired TTLVisibility = iota
	// ReturnExpiredIfNotCleanedUp returns it as long as it is there, which is
	// up to a quarter of TTL.After longer, or more on a busy machine.
	ReturnExpiredIfNotCleanedUp
)

// TTLTime is the time that age is measured in.
type TTLTime uint8

// The times that age is measured in.
const (
	// ProcessingTime is the machine's clock, read once for each batch. Time
	// that passes while the job is down counts.
	ProcessingTime TTLTime = iota
	// EventTime is the watermark. An entry's age begins with the event time of
	// the row that wrote it, or with the watermark when that is later; it has
	// expired once the watermark is TTL.After later. The end of a bounded input
	// makes nothing expire.
	EventTime
)

// stampBytes is the size of the stamp before a value with TTL: the time of
// its last update in milliseconds, little-endian.
const stampBytes = 8

func (t TTL) validate() error {
	switch {
	case t.After < time.Millisecond:
		return fmt.Errorf("TTL.After is %v: give a millisecond or more", t.After)
	case t.Update > OnReadAndWrite:
		return fmt.Errorf("TTL.Update is %d: use OnCreateAndWrite or OnReadAndWrite", t.Update)
	case t.Visibility > ReturnExpiredIfNotCleanedUp:
		return fmt.Errorf("TTL.Visibility is %d: use NeverReturnExpired or ReturnExpiredIfNotCleanedUp", t.Visibility)
	case t.Time > EventTime:
		return fmt.Errorf("TTL.Time is %d: use ProcessingTime or EventTime", t.Time)
	}
	return nil
}

// word is the word of a time in schema texts; part of the format.
func (t TTLTime) word() string {
	if t == EventTime {
		return "event"
	}
	return "processing"
}
