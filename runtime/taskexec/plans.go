package taskexec

import (
	"fmt"
	"slices"
	"time"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Codes of plan failures.
const (
	CodePlanFailed  = "LEAT1221" // the program ended without a graph
	CodePlanTimeout = "LEAT1211"
	CodePlanMemory  = "LEAT1222"
	CodePlanBusy    = "LEAT1223"
	CodeGraphSize   = "LEAT1224"
)

// planTimeoutDefault is used when the request names none.
const planTimeoutDefault = 30 * time.Second

// planTable holds the plan requests: few run, some wait, the rest is refused.
type planTable struct {
	running map[string]bool // by request id; at most plansMax
	waiting []*controlv1.PlanRequest
}

func (c *core) plan(req *controlv1.PlanRequest) {
	switch {
	case c.ending || len(c.plans.waiting) >= plansWaitingMax:
		c.sendPlan(&controlv1.PlanResult{RequestId: req.GetRequestId(), Error: &controlv1.ErrorInfo{
			Code: CodePlanBusy, What: "the taskmanager has no room to plan the job now",
			Why: fmt.Sprintf("%d plans wait", len(c.plans.waiting)), Fix: []string{"try again"},
		}})
	case len(c.plans.running) >= plansMax:
		c.plans.waiting = append(c.plans.waiting, req)
	default:
		c.runPlan(req)
	}
}

func (c *core) runPlan(req *controlv1.PlanRequest) {
	timeout := orDefault(req.GetTimeoutMillis(), planTimeoutDefault)
	c.plans.running[req.GetRequestId()] = true
	c.do(cmdPlan{req: req, timeout: min(timeout, c.cfg.planTimeoutMax)})
}

func (c *core) planned(r *controlv1.PlanResult) {
	delete(c.plans.running, r.GetRequestId())
	c.sendPlan(r)
	for len(c.plans.waiting) > 0 && len(c.plans.running) < plansMax {
		next := c.plans.waiting[0]
		c.plans.waiting = c.plans.waiting[1:]
		c.runPlan(next)
	}
}

// sendPlan answers the leader that asked, if it is still there.
func (c *core) sendPlan(r *controlv1.PlanResult) {
	if c.leader.up {
		c.do(cmdSend{m: &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_PlanResult{PlanResult: r}}})
	}
}

func (c *core) cancelPlans() {
	c.plans.waiting = nil
	ids := make([]string, 0, len(c.plans.running))
	for id := range c.plans.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		c.do(cmdCancelPlan{request: id})
	}
}
