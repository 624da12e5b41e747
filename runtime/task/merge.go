package task

import "github.com/leatstream/leat/dataflow"

// merger combines the watermarks of a task's channels. Pure.
//
// The output is the minimum over the active channels. When the last of them
// turns idle it is the maximum over the idle ones, so that the result does not
// depend on who turned idle last. It never goes back. Ended channels hold
// nothing back, and count for nothing.
type merger struct {
	channels []channelTime
	out      int64
	idle     bool
}

type channelTime struct {
	wm    int64
	idle  bool
	ended bool
}

func newMerger(channels int) *merger {
	m := &merger{channels: make([]channelTime, channels), out: dataflow.TimeMin}
	for i := range m.channels {
		m.channels[i].wm = dataflow.TimeMin
	}
	return m
}

// restore sets the lower bound of the output.
func (m *merger) restore(bound int64) { m.out = max(m.out, bound) }

// watermark, status and end book what a channel said; advanced reports
// whether out grew.
func (m *merger) watermark(channel int, wm int64) (advanced bool) {
	c := &m.channels[channel]
	c.wm = max(c.wm, wm)
	return m.merge()
}

func (m *merger) status(channel int, idle bool) (advanced bool) {
	m.channels[channel].idle = idle
	return m.merge()
}

func (m *merger) end(channel int) (advanced bool) {
	m.channels[channel].ended = true
	return m.merge()
}

// allEnded reports whether no channel is left.
func (m *merger) allEnded() bool {
	for i := range m.channels {
		if !m.channels[i].ended {
			return false
		}
	}
	return true
}

func (m *merger) merge() (advanced bool) {
	low, high := dataflow.TimeMax, dataflow.TimeMin
	active, left := false, false
	for i := range m.channels {
		switch c := &m.channels[i]; {
		case c.ended:
		case c.idle:
			left = true
			if c.wm != dataflow.TimeMax { // it is about to end
				high = max(high, c.wm)
			}
		default:
			left, active = true, true
			low = min(low, c.wm)
		}
	}
	m.idle = left && !active
	next := m.out
	switch {
	case active:
		next = max(next, low)
	case left:
		next = max(next, high)
	}
	advanced = next > m.out
	m.out = next
	return advanced
}
