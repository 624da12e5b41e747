package opstate

import (
	"fmt"

	"github.com/leatstream/leat/internal/callsite"
)

// notOpen panics for a handle that is used before it was opened; both are
// named as users know them.
func notOpen(handle, open string) {
	panic(fmt.Sprintf("%s used before Open at %s: call its %s in the processor's Open, and return its error",
		handle, callsite.Outside("github.com/leatstream/leat/operators/opstate"), open))
}
