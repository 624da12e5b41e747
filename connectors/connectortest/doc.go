// Package connectortest is the conformance suite of sources and sinks: what
// every connector promises to the engine, run against a connector by its own
// tests, in this module or another. It is not a fake connector.
//
// TestSource and TestSink run all checks as subtests. SourceChecks and
// SinkChecks are the same checks as values that return errors, for those who
// test without testing.T. NewReaderContext and its like make what a connector
// is given, for tests of one's own.
package connectortest
