// Package checkpoint is the coordinator of one job's checkpoints: when one is
// triggered, when it is complete, what is written and what may be deleted. It
// is a pure state machine; it sends nothing, stores nothing and reads no
// clock. The driver around it feeds events and carries out commands in order.
package checkpoint
