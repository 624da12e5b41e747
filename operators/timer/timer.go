// Package timer keeps event-time and processing-time timers as keyed state,
// so that they are restored and rescaled with their keys. It reads no clock
// and starts nothing: the operator says how far time has come. Windows do not
// need it: they are tables that fire as a whole.
package timer

import (
	"math"

	"github.com/leatstream/leat/state"
)

// Fire is called for a timer that is due, after it was removed. It may
// register and delete timers, also this one. The key is borrowed until it
// returns.
type Fire func(key state.Key, ns, time int64) error

// Service holds the timers of one operator's subtask. A timer is a key, a
// namespace, and a time in milliseconds; the same one registered twice is one
// timer. Timers fire in order of time; those of one time in order of the
// key's hash, key and namespace, which no restart or rescale changes.
// All methods are called on the task's goroutine.
type Service struct {
	event, processing queue
}

// New returns the timers that b holds under a name, which is unique in the
// operator. b is restored before.
func New(b state.Backend, name string) (*Service, error) {
	s := new(Service)
	if err := s.event.open(b, name+"/event-timers"); err != nil {
		return nil, err
	}
	if err := s.processing.open(b, name+"/processing-timers"); err != nil {
		return nil, err
	}
	return s, nil
}

// Ahead sets a function that is told of keys whose timers are the next to
// fire, some hundreds at most, so that the operator can tell its tables
// (state.Prefetcher). They are borrowed during the call.
func (s *Service) Ahead(fn func(keys []state.Key)) { s.event.ahead, s.processing.ahead = fn, fn }

// RegisterEvent adds an event-time timer, unless it exists. One that is due
// already fires at the next AdvanceEvent. The key is copied.
func (s *Service) RegisterEvent(k state.Key, ns, time int64) { s.event.register(k, ns, time) }

// EventKeys is the number of keys with event-time timers, those of one key in
// different spans of time counted singly.
func (s *Service) EventKeys() int { return s.event.table.Len() }

// DeleteEvent removes an event-time timer, if it exists: it will not fire.
func (s *Service) DeleteEvent(k state.Key, ns, time int64) { s.event.remove(k, ns, time) }

// RegisterProcessing adds a processing-time timer, unless it exists.
func (s *Service) RegisterProcessing(k state.Key, ns, time int64) {
	if !s.processing.closed {
		s.processing.register(k, ns, time)
	}
}

// DeleteProcessing removes a processing-time timer, if it exists.
func (s *Service) DeleteProcessing(k state.Key, ns, time int64) { s.processing.remove(k, ns, time) }

// AdvanceEvent fires the timers at or before the watermark. Before each it
// asks ready, unless that is nil; when there is no room it returns false, and
// is to be called again with the same watermark. A timer that a callback
// registers at or before the watermark fires in the same advance. After an
// error of fire, which is returned as it is, the timer it was for is gone.
func (s *Service) AdvanceEvent(watermark int64, fire Fire, ready func() bool) (done bool, err error) {
	return s.event.advance(watermark, fire, ready)
}

// AdvanceProcessing fires the processing-time timers before now, in the way
// of AdvanceEvent. A timer at now itself waits, because records stamped now
// may still come.
func (s *Service) AdvanceProcessing(now int64, fire Fire, ready func() bool) (done bool, err error) {
	if now == math.MinInt64 {
		return true, nil
	}
	return s.processing.advance(now-1, fire, ready)
}

// DrainProcessing fires all processing-time timers once, in the way of
// AdvanceEvent, at the end of input. From its first call on RegisterProcessing
// does nothing: no time will come for such a timer.
func (s *Service) DrainProcessing(fire Fire, ready func() bool) (done bool, err error) {
	s.processing.closed = true
	return s.processing.advance(math.MaxInt64, fire, ready)
}

// Reset forgets what is held outside the tables: it is called after these
// were changed behind the service's back.
func (s *Service) Reset() {
	s.event.reset()
	s.processing.reset()
}

// NextEvent returns the time of the earliest event-time timer.
func (s *Service) NextEvent() (time int64, ok bool) { return s.event.next() }

// NextProcessing returns the time of the earliest processing-time timer: the
// operator asks for a call (Context.At) when the clock has passed it.
func (s *Service) NextProcessing() (time int64, ok bool) { return s.processing.next() }
