package statetest

import "testing"

// The reference is held to the contract, too.
func TestReference(t *testing.T) {
	t.Parallel()
	Run(t, NewReference)
}

func TestReferenceTTL(t *testing.T) {
	t.Parallel()
	RunTTL(t, NewReference)
}
