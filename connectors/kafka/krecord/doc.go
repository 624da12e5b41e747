// Package krecord reads and writes Kafka record batches of format 2 on raw
// bytes, without an allocation for each record: checksums, compression, the
// filter of aborted transactions, and a builder for batches of idempotent and
// transactional producers. It does no I/O and knows no broker.
package krecord
