package rest

import (
	"net/http"
	"time"

	"github.com/leatstream/leat/runtime/diagnosis"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// betweenSamples is a little more than the time between two reports of a
// worker.
const betweenSamples = 1200 * time.Millisecond

// problems looks at the job twice, since figures are sums.
func (h *Handler) problems(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	before := diagnosis.Sample{Job: j, At: h.cfg.Clock.Now()}
	after := before
	if j.State == jobview.JobRunning {
		timer := h.cfg.Clock.NewTimer(betweenSamples)
		select {
		case <-timer.C():
		case <-r.Context().Done():
			timer.Stop()
			return nil, r.Context().Err()
		}
		if j, err = c.Job(j.ID); err != nil {
			return nil, err
		}
		after = diagnosis.Sample{Job: j, At: h.cfg.Clock.Now()}
	}
	out := restapi.Problems{Problems: []restapi.Problem{}, Rules: diagnosis.Rules}
	for _, p := range diagnosis.Find(before, after) {
		out.Problems = append(out.Problems, restapi.Problem{
			Rule: p.Rule, Severity: string(p.Severity), What: p.What, Where: p.Where, Why: p.Why, Fix: p.Fix,
		})
	}
	return out, nil
}
