// Package scheduler is the state machine of one job: from its plan over
// slots, workers and attempts to its end. It is pure: Step applies an event
// and returns the commands that its driver carries out, in order; time comes
// with the event, chance from an injected source. It takes no checkpoint and
// stores nothing: runtime/jobmaster joins it with the checkpoint coordinator,
// the store and the cluster.
//
//	            ┌────────────── no slots ───────────────┐
//	CREATED ─▶ WAITING ─▶ PREPARING ─▶ STARTING ─▶ DEPLOYING ─▶ RUNNING
//	              ▲            │            │           │           │
//	              │            ▼            ▼           ▼           ▼
//	           BACKOFF ◀───────┴──────── STOPPING ◀─────┴───────────┘
//	                                        │
//	                                        ▼
//	                          FINISHED | FAILED | CANCELED
//
// What follows STOPPING depends on the goal: to run (back off, then a new
// attempt), to finish, to cancel or to fail. While side effects of the last
// committed checkpoint are unconfirmed, a job whose goal is to end first
// makes a settling attempt: its workers restore, which commits them, and are
// stopped before a single record is read.
package scheduler
