package taskexec

import (
	"os/exec"
	goruntime "runtime"
)

// spawner starts all children from one thread that lives as long as it: the
// kernel sends the parent-death signal when the thread that forked ends, not
// the process.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
}

type spawnRequest struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
	go s.run()
	return s
}

// run ends with close. The thread stays locked, so it ends too.
func (s *spawner) run() {
	defer close(s.done)
	goruntime.LockOSThread()
	for r := range s.requests {
		r.result <- r.cmd.Start()
	}
}

func (s *spawner) start(cmd *exec.Cmd) error {
	r := spawnRequest{cmd: cmd, result: make(chan error, 1)}
	s.requests <- r
	return <-r.result
}

func (s *spawner) close() {
	close(s.requests)
	<-s.done
}
