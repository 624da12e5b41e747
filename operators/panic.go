package operators

import "fmt"

// PanicError is a panic of user code on a goroutine that an operator owns. The
// operator recovers there and returns it on the task's goroutine, where it is
// recorded like a panic of the task: no error policy passes over it.
type PanicError struct {
	// Value is what panic was called with, Place the file and line.
	Value any
	Place string
	// Stack is that of the goroutine.
	Stack string
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic at %s: %v", e.Place, e.Value) }
