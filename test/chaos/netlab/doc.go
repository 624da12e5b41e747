// Package netlab gives groups of processes network namespaces of their own,
// joined by a switch that lives in the test: every packet between two groups
// passes through it, and may be dropped (in one direction or both), delayed,
// reordered, doubled, or lost because its connection is no longer known. It
// needs root and /dev/net/tun, no program and nothing else of the kernel. It
// knows nothing of what the processes do.
package netlab
