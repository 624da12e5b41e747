// Package examples_test runs every program under examples/ as a job of
// separate processes, from Kafka to Kafka, kills the worker in the middle, and
// compares what was committed with an answer computed from the input alone. It
// holds tests only; the answers share no code with the engine.
package examples_test
