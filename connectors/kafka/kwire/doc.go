// Package kwire speaks the Kafka protocol on connections of its own: several
// requests in flight, raw record batches in and out, TLS and SASL, a metadata
// and a coordinator cache. It knows nothing of record batches' contents
// (krecord), of producers' state (kproduce) or of sources and sinks.
//
// Control requests are framed and decoded by kafka-go's protocol package;
// fetch, produce and the calls it does not know are coded here, because they
// are either the hot path or newer than it.
package kwire
