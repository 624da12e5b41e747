// Package jobmaster leads one job: its pure core joins the scheduler with the
// checkpoint coordinator, plans restores and keeps the job's record; a thin
// driver with one goroutine carries out what the core commands. It starts no
// worker process itself and runs no user code, and it knows neither gRPC nor
// HTTP: taskmanagers are reached through a Cluster, the outside asks through
// runtime/dispatcher.
package jobmaster
