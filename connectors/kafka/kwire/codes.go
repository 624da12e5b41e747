package kwire

import (
	"errors"
	"fmt"
)

// Code is an error code of the Kafka protocol. Zero is success.
type Code int16

// The codes on which callers branch.
const (
	UnknownServerError       Code = -1
	None                     Code = 0
	OffsetOutOfRange         Code = 1
	CorruptMessage           Code = 2
	UnknownTopicOrPartition  Code = 3
	LeaderNotAvailable       Code = 5
	NotLeader                Code = 6
	RequestTimedOut          Code = 7
	MessageTooLarge          Code = 10
	CoordinatorLoading       Code = 14
	CoordinatorNotAvailable  Code = 15
	NotCoordinator           Code = 16
	RecordListTooLarge       Code = 18
	TopicAuthorizationFailed Code = 29
	GroupAuthorizationFailed Code = 30
	ClusterAuthorization     Code = 31
	UnsupportedVersion       Code = 35
	TopicExists              Code = 36
	NotController            Code = 41
	OutOfOrderSequence       Code = 45
	DuplicateSequence        Code = 46
	InvalidProducerEpoch     Code = 47
	InvalidTxnState          Code = 48
	InvalidProducerIDMapping Code = 49
	InvalidTxnTimeout        Code = 50
	ConcurrentTransactions   Code = 51
	TxnIDAuthorization       Code = 53
	KafkaStorageError        Code = 56
	SaslAuthenticationFailed Code = 58
	UnknownProducerID        Code = 59
	GroupIDNotFound          Code = 69
	FencedLeaderEpoch        Code = 74
	UnknownLeaderEpoch       Code = 75
	OffsetNotAvailable       Code = 78
	ProducerFenced           Code = 90
	UnknownTopicID           Code = 100
	InconsistentTopicID      Code = 103
	TxnAbortable             Code = 120
)

// String returns the protocol's name of the code.
func (c Code) String() string {
	for _, n := range codeNames() {
		if n.code == c {
			return n.name
		}
	}
	return fmt.Sprintf("ERROR_%d", int16(c))
}

// Error implements error.
func (c Code) Error() string { return fmt.Sprintf("%s (broker error %d)", c.String(), int16(c)) }

// Err returns nil for success, else the code as an error.
func (c Code) Err() error {
	if c == None {
		return nil
	}
	return c
}

// Retriable reports whether the same request may succeed later.
func (c Code) Retriable() bool {
	for _, n := range codeNames() {
		if n.code == c {
			return n.retriable
		}
	}
	return false
}

// StaleLeader reports whether the metadata of the partition is out of date.
func (c Code) StaleLeader() bool {
	switch c {
	case UnknownTopicOrPartition, LeaderNotAvailable, NotLeader, KafkaStorageError,
		FencedLeaderEpoch, UnknownLeaderEpoch, UnknownTopicID, InconsistentTopicID:
		return true
	}
	return false
}

// StaleCoordinator reports whether the coordinator must be looked up again.
func (c Code) StaleCoordinator() bool {
	return c == CoordinatorNotAvailable || c == NotCoordinator
}

// CodeOf returns the broker's code in err, or None.
func CodeOf(err error) Code {
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return None
}

type codeName struct {
	code      Code
	name      string
	retriable bool
}

func codeNames() []codeName {
	return []codeName{
		{UnknownServerError, "UNKNOWN_SERVER_ERROR", true},
		{None, "NONE", false},
		{OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", false},
		{CorruptMessage, "CORRUPT_MESSAGE", true},
		{UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", true},
		{LeaderNotAvailable, "LEADER_NOT_AVAILABLE", true},
		{NotLeader, "NOT_LEADER_OR_FOLLOWER", true},
		{RequestTimedOut, "REQUEST_TIMED_OUT", true},
		{8, "BROKER_NOT_AVAILABLE", true},
		{9, "REPLICA_NOT_AVAILABLE", true},
		{MessageTooLarge, "MESSAGE_TOO_LARGE", false},
		{13, "NETWORK_EXCEPTION", true},
		{CoordinatorLoading, "COORDINATOR_LOAD_IN_PROGRESS", true},
		{CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", true},
		{NotCoordinator, "NOT_COORDINATOR", true},
		{17, "INVALID_TOPIC_EXCEPTION", false},
		{RecordListTooLarge, "RECORD_LIST_TOO_LARGE", false},
		{19, "NOT_ENOUGH_REPLICAS", true},
		{20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", true},
		{21, "INVALID_REQUIRED_ACKS", false},
		{22, "ILLEGAL_GENERATION", false},
		{25, "UNKNOWN_MEMBER_ID", false},
		{TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", false},
		{GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED", false},
		{ClusterAuthorization, "CLUSTER_AUTHORIZATION_FAILED", false},
		{32, "INVALID_TIMESTAMP", false},
		{33, "UNSUPPORTED_SASL_MECHANISM", false},
		{34, "ILLEGAL_SASL_STATE", false},
		{UnsupportedVersion, "UNSUPPORTED_VERSION", false},
		{TopicExists, "TOPIC_ALREADY_EXISTS", false},
		{37, "INVALID_PARTITIONS", false},
		{38, "INVALID_REPLICATION_FACTOR", false},
		{40, "INVALID_CONFIG", false},
		{NotController, "NOT_CONTROLLER", true},
		{42, "INVALID_REQUEST", false},
		{43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", false},
		{44, "POLICY_VIOLATION", false},
		{OutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE_NUMBER", false},
		{DuplicateSequence, "DUPLICATE_SEQUENCE_NUMBER", false},
		{InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", false},
		{InvalidTxnState, "INVALID_TXN_STATE", false},
		{InvalidProducerIDMapping, "INVALID_PRODUCER_ID_MAPPING", false},
		{InvalidTxnTimeout, "INVALID_TRANSACTION_TIMEOUT", false},
		{ConcurrentTransactions, "CONCURRENT_TRANSACTIONS", true},
		{TxnIDAuthorization, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false},
		{KafkaStorageError, "KAFKA_STORAGE_ERROR", true},
		{SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", false},
		{UnknownProducerID, "UNKNOWN_PRODUCER_ID", false},
		{GroupIDNotFound, "GROUP_ID_NOT_FOUND", false},
		{FencedLeaderEpoch, "FENCED_LEADER_EPOCH", true},
		{UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", true},
		{76, "UNSUPPORTED_COMPRESSION_TYPE", false},
		{OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", true},
		{87, "INVALID_RECORD", false},
		{88, "UNSTABLE_OFFSET_COMMIT", true},
		{89, "THROTTLING_QUOTA_EXCEEDED", true},
		{ProducerFenced, "PRODUCER_FENCED", false},
		{UnknownTopicID, "UNKNOWN_TOPIC_ID", true},
		{InconsistentTopicID, "INCONSISTENT_TOPIC_ID", true},
		{105, "TRANSACTIONAL_ID_NOT_FOUND", false},
		{TxnAbortable, "TRANSACTION_ABORTABLE", false},
	}
}
