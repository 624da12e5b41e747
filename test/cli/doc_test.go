// Package cli_test runs flinkctl as people do: the built program, one script for
// each verb, against a cluster that it started itself. It holds tests only.
package cli_test
