// Package dispatcher is the leading jobmanager: it accepts, recovers and
// archives jobs, knows the taskmanagers and their slots, and answers what the
// REST API asks (jobview.Control). What a job does next is decided in
// runtime/jobmaster; connections and HTTP are made elsewhere.
//
// Lock order: Dispatcher.mu, then a job's driver or mailbox, then a session's
// own. Nothing under Dispatcher.mu blocks.
package dispatcher
