package taskexec

import (
	"time"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// leaderState is the session with the jobmanager as the core sees it.
type leaderState struct {
	up       bool
	epochMax int64 // of all leaders seen: an earlier one is not obeyed
	interval time.Duration
	timeout  time.Duration
	sequence int64 // of the last heartbeat, over all sessions
	sentAt   time.Time
	heardAt  time.Time
	// awaySince is when the last session ended; zero while one is up.
	awaySince time.Time
}

// Heartbeat times when the jobmanager names none.
const (
	heartbeatDefault = 500 * time.Millisecond
	timeoutDefault   = 3 * time.Second
)

func (c *core) connected(r *controlv1.Registered) {
	l := &c.leader
	if r.GetEpoch() < l.epochMax {
		c.do(cmdDrop{reason: "that jobmanager does not lead any more: a later leader was seen"})
		return
	}
	l.up, l.epochMax, l.awaySince = true, r.GetEpoch(), time.Time{}
	l.interval = orDefault(r.GetHeartbeatMillis(), heartbeatDefault)
	l.timeout = orDefault(r.GetTimeoutMillis(), timeoutDefault)
	l.heardAt, l.sentAt = c.now, time.Time{}
	for _, m := range c.relay.resend() {
		c.do(cmdSend{m: m})
	}
	c.heartbeat()
}

func orDefault(millis int64, d time.Duration) time.Duration {
	if millis <= 0 {
		return d
	}
	return time.Duration(millis) * time.Millisecond
}

// disconnected: workers go on; plans were for that leader.
func (c *core) disconnected() {
	if c.leader.up {
		c.leader.awaySince = c.now
	}
	c.leader.up = false
	c.relay.interrupted()
	c.cancelPlans()
	if c.draining() { // nobody is left to replace the workers
		c.shutdown()
	}
}

// heartbeat sends one when it is due, and gives up a session whose other end
// does not answer.
func (c *core) heartbeat() {
	l := &c.leader
	if !l.up {
		return
	}
	if c.now.Sub(l.heardAt) >= l.timeout {
		l.up, l.awaySince = false, c.now
		c.do(cmdDrop{reason: "the jobmanager does not answer heartbeats"})
		return
	}
	if !l.sentAt.IsZero() && c.now.Sub(l.sentAt) < l.interval {
		return
	}
	l.sequence++
	l.sentAt = c.now
	c.relay.mark(l.sequence)
	c.do(cmdSend{m: &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Heartbeat{Heartbeat: &controlv1.Heartbeat{
		Sequence: l.sequence, MemoryUsedBytes: c.memoryUsed(), CpuSeconds: c.cpuSeconds,
	}}}})
}

func (c *core) heartbeatAcked(sequence int64) {
	c.leader.heardAt = c.now
	c.relay.acked(sequence)
}

// awayCheck ends workers that no jobmanager has asked for in too long.
func (c *core) awayCheck() {
	l := &c.leader
	if l.up || l.awaySince.IsZero() || c.now.Sub(l.awaySince) < c.cfg.awayMax {
		return
	}
	for _, id := range c.workerIDs() {
		if w := c.workers[id]; w.reason == "" {
			w.note = "no jobmanager was reached for " + c.cfg.awayMax.String()
			c.terminate(w, ReasonAway, c.cfg.detachGrace)
		}
	}
}

// report sends a message that must not be lost.
func (c *core) report(m *controlv1.TaskManagerMessage) {
	c.relay.add(m)
	if c.leader.up {
		c.do(cmdSend{m: m})
	}
}

// relayLimits bound what is kept for the jobmanager.
type relayLimits struct {
	messagesMax int
	bytesMax    int
}

// relay keeps messages until the jobmanager is known to have them. The stream
// keeps its order, so the answer to a heartbeat confirms all that was sent
// before it; after a broken session what is unconfirmed is sent again, maybe
// a second time.
//
//	invariant: len(kept) == end - first
type relay struct {
	limits relayLimits
	kept   []*controlv1.TaskManagerMessage
	first  int64 // number of kept[0]
	bytes  int
	marks  []relayMark
}

// relayMark: heartbeat sequence was sent after all messages below end.
type relayMark struct{ sequence, end int64 }

func (r *relay) end() int64 { return r.first + int64(len(r.kept)) }

// full reports whether workers' messages have no room. The taskmanager's own
// few (starts, exits) are kept regardless: their number is bounded by that of
// the workers.
func (r *relay) full() bool {
	return len(r.kept) >= r.limits.messagesMax || r.bytes >= r.limits.bytesMax
}

func (r *relay) add(m *controlv1.TaskManagerMessage) {
	r.kept = append(r.kept, m)
	r.bytes += proto.Size(m)
}

func (r *relay) mark(sequence int64) {
	r.marks = append(r.marks, relayMark{sequence: sequence, end: r.end()})
}

func (r *relay) acked(sequence int64) {
	for len(r.marks) > 0 && r.marks[0].sequence <= sequence {
		r.drop(r.marks[0].end)
		r.marks = r.marks[1:]
	}
}

func (r *relay) drop(end int64) {
	n := max(0, end-r.first)
	for _, m := range r.kept[:n] {
		r.bytes -= proto.Size(m)
	}
	r.kept = append([]*controlv1.TaskManagerMessage(nil), r.kept[n:]...)
	r.first += n
}

// interrupted forgets the marks: no answer to them will come.
func (r *relay) interrupted() { r.marks = nil }

// resend returns what the jobmanager may not have.
func (r *relay) resend() []*controlv1.TaskManagerMessage { return r.kept }
