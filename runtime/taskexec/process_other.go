//go:build unix && !linux

package taskexec

import "syscall"

// processAttributes: an own group. Without a parent-death signal the lifeline
// alone ends children of a killed taskmanager.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitExit cannot wait without reaping here and reports that.
func waitExit(int) bool { return false }

// residentMemory is not known here: GOMEMLIMIT alone bounds workers.
func residentMemory(int) int64 { return 0 }

func ownCPUSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func environmentHas(int, string, string) bool { return false }
