"""Prints the values of a topic's committed records, one a line, up to the ends
of its partitions. It reads with librdkafka and shares no code with the engine.

usage: librdkafka.py BROKERS TOPIC
"""

import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition


def main(brokers: str, topic: str) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "librdkafka-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    open_partitions = set(partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    while open_partitions:
        message = consumer.poll(30)
        if message is None:
            sys.exit(f"no message for 30 s, partitions {sorted(open_partitions)} are not at their end")
        error = message.error()
        if error is None:
            sys.stdout.buffer.write(message.value() + b"\n")
        elif error.code() == KafkaError._PARTITION_EOF:
            open_partitions.discard(message.partition())
        else:
            sys.exit(f"{error}")
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
