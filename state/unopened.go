package state

import (
	"fmt"

	"github.com/leatstream/leat/internal/callsite"
)

// notOpen panics for a handle that is used although no Open of it succeeded:
// a processor without an Open that calls it, or one that drops its error.
func notOpen(handle string) {
	panic(fmt.Sprintf("%s used before Open at %s: call its Open in the processor's Open, and return its error",
		handle, callsite.Outside("github.com/leatstream/leat/state")))
}
