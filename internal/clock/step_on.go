//go:build failpoints

package clock

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// EnvStep names a file of eight bytes, a signed number in the machine's byte
// order: the seconds by which Real's wall time differs from the machine's. A
// test changes it while processes run; they see it at once, as when somebody
// sets a machine's clock. Monotonic time does not change.
const EnvStep = "LEAT_CLOCK_STEP"

// StepSize is the size of the file.
const StepSize = 8

// steps maps the file once; nil without one, or when it cannot be mapped.
var steps = sync.OnceValue(func() *int64 {
	f, err := os.Open(os.Getenv(EnvStep))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, StepSize, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil
	}
	return (*int64)(unsafe.Pointer(&b[0]))
})

// nanosecondBits is the place of the seconds in the first word of a time.Time
// with a monotonic reading: above the bits of the nanoseconds.
const nanosecondBits = 30

// stepped shifts the wall time of t, fresh from time.Now, and leaves its
// monotonic reading: no method of time.Time does that.
func stepped(t time.Time) time.Time {
	p := steps()
	if p == nil {
		return t
	}
	word := (*uint64)(unsafe.Pointer(&t))
	*word += uint64(atomic.LoadInt64(p)) << nanosecondBits
	return t
}
