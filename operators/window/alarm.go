package window

import (
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/timer"
)

// alarm asks to be called when the next processing-time timer is due.
type alarm struct {
	op     *operators.Context
	timers *timer.Service
	fire   func(now int64) (done bool, err error)
	at     int64
	disarm func()
	off    bool
}

func (a *alarm) arm() {
	next, ok := a.timers.NextProcessing()
	if !ok || a.off || (a.disarm != nil && a.at <= next) {
		return
	}
	a.cancel()
	a.set(next)
}

func (a *alarm) set(millis int64) {
	a.at = millis
	a.disarm = a.op.At(millis, a.ring)
}

func (a *alarm) ring() error {
	a.disarm = nil
	now := clock.Millis(a.op.Clock)
	done, err := a.fire(now)
	if !done && err == nil {
		// There is no room downstream: to ask again at once would keep the
		// processor busy until there is.
		a.set(now)
		return nil
	}
	a.arm()
	return err
}

func (a *alarm) cancel() {
	if a.disarm != nil {
		a.disarm()
		a.disarm = nil
	}
}
