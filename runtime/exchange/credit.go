package exchange

import "fmt"

// Windows of remote channels, in bytes of encoded batches.
const (
	// WindowMax is what one channel may have on its way.
	WindowMax = 512 << 10
	// WindowMin is the least; a single batch larger than the window travels
	// alone (see Ledger).
	WindowMin = 8 << 10
	// WindowsTotalMax is shared by all remote input channels of a worker.
	WindowsTotalMax = 64 << 20
)

// WindowOf returns the window of each channel when a worker has this many
// remote input channels.
func WindowOf(channels int) int {
	return min(WindowMax, max(WindowMin, WindowsTotalMax/max(1, channels)))
}

// Ledger is the sender's account of one channel: pure arithmetic, used by one
// goroutine at a time. credit <= window always, and window - credit is what
// was sent and not yet handed back: at most the window, or half of it plus one
// batch when a batch is larger than half the window, and what Debt says.
type Ledger struct {
	window, credit int
}

// NewLedger returns an account with the whole window granted.
func NewLedger(window int) Ledger { return Ledger{window: window, credit: window} }

// Covers reports whether a batch of n bytes may be sent. A batch larger than
// half the window needs only that half: the receiver may hold back grants of
// less than half, so to ask for more could wait for ever.
func (l *Ledger) Covers(n int) bool { return l.credit >= min(n, (l.window+1)/2) }

// Debt is what was sent beyond the window, 0 when nothing was: what stands
// before the barrier of a checkpoint is sent whether it is covered or not, so
// that the receiver has it all when the barrier comes.
func (l *Ledger) Debt() int { return max(0, -l.credit) }

// Spend books a batch that is sent.
func (l *Ledger) Spend(n int) { l.credit -= n }

// Grant books credit handed back by the receiver.
func (l *Ledger) Grant(n int) error {
	if n <= 0 || l.credit+n > l.window {
		return fmt.Errorf("grant of %d bytes to a channel that has %d of %d", n, l.credit, l.window)
	}
	l.credit += n
	return nil
}

// Granter is the receiver's account of one channel: it gathers what was
// consumed into grants that are worth a message.
type Granter struct {
	window, owed int
}

// NewGranter returns an account in which nothing is owed.
func NewGranter(window int) Granter { return Granter{window: window} }

// Consumed books n bytes taken out of the channel and returns what to grant
// now, 0 for nothing yet. What is held back is less than half the window, so
// the sender always has the other half, or is waiting for a grant that comes.
func (g *Granter) Consumed(n int) int {
	g.owed += n
	if g.owed*2 < g.window {
		return 0
	}
	grant := g.owed
	g.owed = 0
	return grant
}
