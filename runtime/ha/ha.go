// Package ha is the contract of what coordinates jobmanagers: leader election
// and a small store in which every write is fenced by the leadership. etcdha
// and memha implement it; hatest is their conformance suite.
package ha

import (
	"context"
	"errors"

	"github.com/leatstream/leat/dataflow"
)

// Errors that callers branch on; implementations wrap them.
var (
	// ErrFenced says that the leadership has ended: nothing was written.
	ErrFenced = errors.New("leadership lost")
	// ErrUnknown says that the result of a write is not known: read it back
	// before saying that it happened or did not.
	ErrUnknown = errors.New("result of the write is unknown")
	// ErrClosed says that the Coordination was closed.
	ErrClosed = errors.New("coordination is closed")
)

// WritesMax bounds the writes of one Commit.
const WritesMax = 120

// Leader is what the elected jobmanager has published.
type Leader struct {
	Epoch dataflow.Epoch `json:"epoch"`
	// ID is the jobmanager's name, Control its gRPC and REST its HTTP address.
	ID      string `json:"id"`
	Control string `json:"control"`
	REST    string `json:"rest"`
}

// Coordination is the way into the coordination service.
type Coordination interface {
	// Campaign waits until me is leader. me.Epoch is set by the election.
	Campaign(ctx context.Context, me Leader) (Leadership, error)
	// Watch sends the leader whenever it changes (nil: none) until ctx ends,
	// then closes the channel. Intermediate values may be skipped.
	Watch(ctx context.Context) <-chan *Leader
	Close() error
}

// Leadership is an election won. It ends for good when Done is closed: then
// the holder stops acting, also if the service cannot be reached (by the
// holder's own monotonic clock, before the lease runs out).
type Leadership interface {
	Epoch() dataflow.Epoch
	Done() <-chan struct{}
	// Load returns all keys under prefix with their values.
	Load(ctx context.Context, prefix string) (map[string][]byte, error)
	// Commit applies all writes in one transaction, or none, guarded by this
	// leadership. Errors: ErrFenced, ErrUnknown, or one that says that
	// nothing was written.
	Commit(ctx context.Context, writes []Write) error
	// Resign ends the leadership at once.
	Resign(ctx context.Context) error
}

// Write sets a key, or deletes it when Value is nil. Keys are relative to the
// cluster's prefix, as "jobs/4be1…/record".
type Write struct {
	Key   string
	Value []byte
}
