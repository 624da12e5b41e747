package depot

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns a connection with a limit on silence, and its other side.
func pair(t *testing.T, limit time.Duration) (near net.Conn, far net.Conn) {
	t.Helper()
	inner, far := net.Pipe()
	near, err := dialer{func(context.Context, string, string) (net.Conn, error) { return inner, nil }, limit}.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func shut(t *testing.T, cs ...net.Conn) {
	t.Helper()
	for _, c := range cs {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A side that is silent while it is read from is given up after the limit,
// not before.
func TestSilenceEndsARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, time.Minute)
		defer shut(t, near, far)
		go func() {
			for range 3 {
				time.Sleep(59 * time.Second)
				_, _ = far.Write([]byte("x"))
			}
		}()
		start := time.Now()
		got, err := io.ReadAll(near)
		var silent *errSilent
		if !errors.As(err, &silent) || silent.limit != time.Minute || err.Error() != "no byte came for 1m0s" {
			t.Errorf("the end is %v", err)
		}
		if took := time.Since(start); string(got) != "xxx" || took != 3*59*time.Second+time.Minute {
			t.Errorf("read %q in %v", got, took)
		}
	})
}

// A connection that nobody reads may rest for as long as it likes.
func TestSlowReadersAreNoSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, time.Minute)
		defer shut(t, near, far)
		go func() { _, _ = far.Write([]byte("xyz")) }()
		var b [1]byte
		for range 3 {
			if _, err := near.Read(b[:]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
	})
}

// While a request is being written its answer is not late.
func TestWritingIsNoSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, time.Minute)
		defer shut(t, near, far)
		answer := make(chan error, 1)
		go func() {
			_, err := near.Read(make([]byte, 1))
			answer <- err
		}()
		go func() { // takes a byte now and then, and answers in the end
			for range 10 {
				time.Sleep(50 * time.Second)
				_, _ = far.Read(make([]byte, 1))
			}
			_, _ = far.Write([]byte("x"))
		}()
		for range 10 {
			if _, err := near.Write([]byte("r")); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-answer; err != nil {
			t.Errorf("the answer is %v", err)
		}
	})
}
