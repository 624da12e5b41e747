package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/leatstream/leat/bench/cmd/internal/machine"
)

// report writes to standard output and, if asked, to a file.
type report struct {
	file *os.File
	w    io.Writer
	err  error
}

func newReport(path string) (*report, error) {
	r := &report{w: os.Stdout}
	if path == "" {
		return r, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r.file, r.w = f, io.MultiWriter(os.Stdout, f)
	return r, nil
}

func (r *report) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(r.w, format, args...); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *report) close() error {
	if r.file != nil {
		if err := r.file.Close(); err != nil && r.err == nil {
			r.err = err
		}
	}
	return r.err
}

// machine says where and what was measured.
func (r *report) machine(o options) {
	var about strings.Builder
	machine.Describe(&about)
	r.printf("%s", about.String())
	r.printf("setting   broker %s, %d orders (compression %s), parallelism %d, checkpoints every %s, exactly-once\n", o.brokerName(), o.orders, o.compression, o.parallelism, o.interval)
}

// calibrate is fixed work in pure Go: its score says how fast this machine is
// at this moment, so that figures of different moments can be compared.
func calibrate() (passesPerCPUSecond float64) {
	const passes = 40
	table := make([]uint64, 1<<15)
	began := ownCPU()
	x := uint64(88172645463325252)
	sum := uint64(0)
	for range passes {
		for range 1 << 18 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			at := &table[x&(1<<15-1)]
			*at += x
			sum += *at * 0x9e3779b97f4a7c15
		}
	}
	table[0] = sum // keeps the work
	return passes / (ownCPU() - began).Seconds()
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// row prints the median of a series and all of it.
func (r *report) row(name, unit string, v []float64) {
	raw := make([]string, len(v))
	for i, x := range v {
		raw[i] = fmt.Sprintf("%.3g", x)
	}
	r.printf("%-36s median %8.4g %-22s runs: %s\n", name, median(v), unit, strings.Join(raw, " "))
}
