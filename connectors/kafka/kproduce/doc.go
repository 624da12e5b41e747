// Package kproduce writes records to partitions as one idempotent or
// transactional producer: batches in order with sequence numbers, several
// requests in flight, retried without duplicates. It does not decide which
// transactional id is used nor how a transaction ends: that is the sink's.
package kproduce
