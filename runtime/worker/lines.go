package worker

import (
	"sync"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// lines carries what source coordinators and readers on different workers say
// to each other, over the jobmaster. A leader may go with some of it, so each
// end keeps what it said until the other end confirms it, and says it again
// when a new leader takes over. It is safe for concurrent use.
type lines struct {
	// send takes one event to the link; it is called with mu held, so that the
	// events of a line leave in their order. It may block while the link's
	// queue is full, which no holder of mu empties.
	send func(*controlv1.OperatorEvent)

	mu  sync.Mutex
	out map[line]*said // guarded by mu
	in  map[line]int64 // the last event taken; guarded by mu
	all []line         // of out, in the order of their first event; guarded by mu
}

// line is one subtask of an operator in one direction.
type line struct {
	operator      string
	subtask       int32
	toCoordinator bool
}

// said is what one line has said. What waits for its confirmation is as much
// as a reader and its coordinator say in a round trip, or while no jobmanager
// leads: both wait for answers before they say more.
type said struct {
	last    int64
	waiting []*controlv1.OperatorEvent
}

func newLines(send func(*controlv1.OperatorEvent)) *lines {
	return &lines{send: send, out: make(map[line]*said), in: make(map[line]int64)}
}

func lineOf(ev *controlv1.OperatorEvent) line {
	return line{operator: ev.GetOperatorId(), subtask: ev.GetSubtask(), toCoordinator: ev.GetToCoordinator()}
}

// say numbers an event and sends it.
func (l *lines) say(ev *controlv1.OperatorEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := lineOf(ev)
	s := l.out[at]
	if s == nil {
		s = &said{}
		l.out[at] = s
		l.all = append(l.all, at)
	}
	s.last++
	ev.Sequence = s.last
	s.waiting = append(s.waiting, ev)
	l.send(ev)
}

// received reports whether an event is to be delivered. A confirmation is not,
// nor is one that came before; one that comes too early is said again, since
// what is missing went with a leader.
func (l *lines) received(ev *controlv1.OperatorEvent) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := lineOf(ev)
	if ev.GetSequence() == 0 {
		at.toCoordinator = !at.toCoordinator
		l.confirmed(at, ev.GetConfirmed())
		return false
	}
	next := ev.GetSequence() == l.in[at]+1
	if next {
		l.in[at]++
	}
	l.send(&controlv1.OperatorEvent{
		OperatorId: at.operator, Subtask: at.subtask, ToCoordinator: !at.toCoordinator, Confirmed: l.in[at],
	})
	return next
}

func (l *lines) confirmed(at line, through int64) {
	s := l.out[at]
	if s == nil {
		return
	}
	for len(s.waiting) > 0 && s.waiting[0].GetSequence() <= through {
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
}

// resend says again what was not confirmed.
func (l *lines) resend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.all {
		for _, ev := range l.out[at].waiting {
			l.send(ev)
		}
	}
}
