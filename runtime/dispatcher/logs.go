package dispatcher

import (
	"context"
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

const (
	// logsMax bounds the reads under way.
	logsMax = 256
	// logTimeout bounds one read.
	logTimeout = 10 * time.Second
	// logBytesMax bounds what one read returns.
	logBytesMax = 1 << 20
)

type logAnswer struct {
	chunk *controlv1.LogChunk
	err   error
}

// Log implements jobview.Control.
func (d *Dispatcher) Log(ctx context.Context, taskManager string, job dataflow.JobID, worker string, offset, limit int64) ([]byte, int64, error) {
	if limit <= 0 || limit > logBytesMax {
		limit = logBytesMax
	}
	ch := make(chan logAnswer, 1)
	d.mu.Lock()
	tm := d.tms[taskManager]
	switch {
	case tm == nil:
		d.mu.Unlock()
		return nil, 0, errNoTaskManager(taskManager)
	case d.over || len(d.logs) >= logsMax:
		d.mu.Unlock()
		return nil, 0, errUnavailable("too many logs are being read")
	}
	id := d.nextIDLocked("log")
	d.logs[id] = ch
	d.mu.Unlock()
	defer d.forgetLog(id)
	m := &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_ReadLog{ReadLog: &controlv1.ReadLog{
		RequestId: id, JobId: string(job), WorkerId: worker, Offset: offset, Limit: limit,
	}}}
	if err := tm.session.Send(m); err != nil {
		return nil, 0, errUnavailable(err.Error())
	}
	timer := d.cfg.Clock.NewTimer(logTimeout)
	defer timer.Stop()
	select {
	case a := <-ch:
		if a.err != nil {
			return nil, 0, a.err
		}
		if text := a.chunk.GetError(); text != "" {
			return nil, 0, &jobview.Error{Code: "LEAT2006", Kind: jobview.KindNotFound, What: "the log cannot be read", Where: "taskmanager " + taskManager, Why: text}
		}
		return a.chunk.GetData(), a.chunk.GetSize(), nil
	case <-timer.C():
		return nil, 0, errUnavailable("taskmanager " + taskManager + " does not answer")
	case <-ctx.Done():
		return nil, 0, errUnavailable(ctx.Err().Error())
	}
}

func (d *Dispatcher) forgetLog(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.logs, id)
}

func (d *Dispatcher) logChunkLocked(c *controlv1.LogChunk) {
	if ch := d.logs[c.GetRequestId()]; ch != nil {
		delete(d.logs, c.GetRequestId())
		ch <- logAnswer{chunk: c}
	}
}
