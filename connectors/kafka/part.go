package kafka

import (
	"sync"
	"sync/atomic"

	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// part is a partition that a reader reads. What the task's goroutine owns is
// apart from what it shares with the fetchers, which is guarded by puller.mu.
type part struct {
	id string
	tp TopicPartition

	task struct {
		next   int64 // after the last record handed out
		stop   int64
		epoch  int32 // leader epoch of the last batch begun, -1
		ended  bool
		told   bool // SplitEnd was handed out
		caught bool // CaughtUp as it was handed out last
		active bool // iter holds a chunk
		chunk  chunk
		iter   krecord.Iter
	}

	topicID  [16]byte
	fetchPos int64 // where the next fetch begins
	stop     int64
	// leader is the broker to fetch from; noLeader until metadata says.
	leader      int32
	leaderEpoch int32
	// checkEpoch is the epoch to compare with the leader before the next
	// fetch, -1: none. It is set when the leader changed or state was restored.
	checkEpoch int32
	busy       bool // in a fetch that is not answered yet
	dropped    bool // has ended: what is still fetched is let go
	failing    bool // the last fetch failed: the end is not confirmed
	end        int64
	chunks     []chunk
	bytes      int // of chunks and the active one

	current   atomic.Int64 // task.next, for metrics
	committed atomic.Int64
	highWater atomic.Int64
}

const noLeader int32 = -1

// chunk is what one fetch brought of a partition.
type chunk struct {
	records []byte
	aborted []kwire.AbortedTxn
	from    int64
	count   int // records by the headers, an upper bound
	body    *body
}

// body is the memory of an answer, shared by the chunks in it.
type body struct {
	buf  []byte
	refs atomic.Int32
	home *bodies
}

// release gives the memory back when the last chunk is done with it.
func (b *body) release() {
	if b != nil && b.refs.Add(-1) == 0 {
		b.home.put(b.buf)
	}
}

// bodiesMax bounds the answers' memory that is kept for the next fetches.
const bodiesMax = 8

// bodies keeps memory of answers to be used again: fresh memory of a megabyte
// costs more than reading into it.
type bodies struct {
	mu   sync.Mutex
	free [][]byte // guarded by mu
}

func (p *bodies) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if cap(b) >= n {
			last := len(p.free) - 1
			p.free[i] = p.free[last]
			p.free = p.free[:last]
			return b[:n]
		}
	}
	return make([]byte, n, n+n/8)
}

func (p *bodies) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) >= bodiesMax {
		// Keep the larger ones: they serve any request.
		small := 0
		for i := range p.free {
			if cap(p.free[i]) < cap(p.free[small]) {
				small = i
			}
		}
		if cap(p.free[small]) < cap(b) {
			p.free[small] = b
		}
		return
	}
	p.free = append(p.free, b)
}
