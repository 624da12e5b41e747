// Package kafka is the Kafka source and sink: partitions as splits with exact
// offsets and read_committed done right, and an exactly-once sink by two-phase
// commit over Kafka transactions. It is not a client library: the protocol is
// in kwire, batches in krecord, producing in kproduce.
package kafka
