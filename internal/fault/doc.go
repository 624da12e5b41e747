// Package fault holds named failpoints: places where a test may make the
// process crash, wait or see an error. They cost nothing and do nothing unless
// the build has the tag failpoints and the environment names them. It decides
// nothing by itself and is no part of a release.
//
// With the tag, LEAT_FAILPOINTS is a list, separated by semicolons, of
//
//	name=action        at each hit
//	name=action@3      at the third hit only
//
// where an action is crash (the process kills itself with SIGKILL), exit (code
// 137), error (Hit returns an error) or delay:100ms. A crash repeated after
// each restart tests nothing more, so with LEAT_FAILPOINTS_DIR set each crash
// and exit happens once: it leaves a file of its name in that folder.
//
// The action remote leaves it to a test, while the process runs, what happens.
// In LEAT_FAILPOINTS_DIR each hit adds a line "NANOSECONDS PID NAME" to the
// file trace; a process that hits a point with a file NAME.crash removes the
// file and kills itself; while there is a file NAME.hold it waits, at most for
// ten seconds. The name * stands for all.
package fault
