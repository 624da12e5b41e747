package stream

import "github.com/leatstream/leat/operators/window"

// onClose stands for the trigger of OnClose, which knows the lateness of the
// window that it is given to.
type onClose struct{}

// OnClose has one result, when the window takes no more rows: when the
// watermark has passed its end by the allowed lateness. No late row makes it
// come again, and the watermark behind the window is the lateness less, so
// that the results are not late there. Without a lateness it is the default.
func OnClose() TriggerSpec {
	return TriggerSpec{trigger: onClose{}, timed: true, text: "OnClose"}
}

// close plans the trigger of OnClose, when that is the window's.
func (p *windowPlan) close(a WindowAssigner, cfg windowConfig) {
	if a.kind == kindGlobal {
		p.fault("GlobalWindows never close: use another trigger than OnClose, say stream.Trigger(stream.OnCount(100))")
		return
	}
	p.delay = cfg.lateness
	p.trigger.trigger = window.ByClose{Lateness: cfg.lateness.Milliseconds()}
}
