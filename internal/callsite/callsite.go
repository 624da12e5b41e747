// Package callsite finds the place in a user's program that a library was
// called from, for faults of what is built there. It is not for errors at
// run time, which name records and keys.
package callsite

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// framesMax bounds the frames of the library above the user's code.
const framesMax = 16

// Outside returns the folder, file and line of the first caller whose function
// is in none of the packages, each given as an import path.
func Outside(packages ...string) string {
	pcs := make([]uintptr, framesMax)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if f.File != "" && f.Function != "" && !inside(f.Function, packages) {
			return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(f.File)), filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}

func inside(function string, packages []string) bool {
	for _, p := range packages {
		if strings.HasPrefix(function, p+".") {
			return true
		}
	}
	return false
}
