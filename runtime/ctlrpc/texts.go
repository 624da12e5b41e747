package ctlrpc

import (
	"fmt"
	"unicode/utf8"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Limits of texts for people: a panic may carry megabytes.
const (
	textMax  = 16 << 10
	stackMax = 64 << 10
)

// CutText shortens a text to at most about limit bytes, at a character's
// border, and says that it did.
func CutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	at := limit
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return fmt.Sprintf("%s … (cut: %d of %d bytes shown)", s[:at], at, len(s))
}

// CutTexts bounds the texts in an event, in place.
func CutTexts(ev *controlv1.WorkerEvent) {
	switch b := ev.GetBody().(type) {
	case *controlv1.WorkerEvent_TaskStatus:
		cutFailure(b.TaskStatus.GetFailure())
	case *controlv1.WorkerEvent_Failed:
		cutFailure(b.Failed.GetFailure())
	case *controlv1.WorkerEvent_CheckpointDecline:
		b.CheckpointDecline.Reason = CutText(b.CheckpointDecline.GetReason(), textMax)
	}
}

func cutFailure(f *controlv1.Failure) {
	if f == nil {
		return
	}
	f.Stack = CutText(f.GetStack(), stackMax)
	f.Record = CutText(f.GetRecord(), textMax)
	CutError(f.GetError())
}

// CutError bounds the texts of an error, in place; nil is allowed.
func CutError(e *controlv1.ErrorInfo) {
	if e == nil {
		return
	}
	e.What = CutText(e.GetWhat(), textMax)
	e.Where = CutText(e.GetWhere(), textMax)
	e.Why = CutText(e.GetWhy(), textMax)
	for i, f := range e.GetFix() {
		e.Fix[i] = CutText(f, textMax)
	}
}
