package exchange

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
)

// scatter sorts the rows of a batch by channel; its slices are used again for
// each batch.
type scatter struct {
	to     []int32 // channel of each row
	starts []int32 // starts[c] is where the rows of c begin, starts[c+1] where they end
	at     []int32 // places that are being filled, by channel
	rows   []int32
	all    []int32 // 0, 1, 2, ...
}

// count counts the rows of each channel.
func (s *scatter) count(channels int) {
	if len(s.starts) != channels+1 {
		s.starts = make([]int32, channels+1)
	}
	clear(s.starts)
	for _, c := range s.to {
		s.starts[c+1]++
	}
	for c := 1; c <= channels; c++ {
		s.starts[c] += s.starts[c-1]
	}
}

// begin returns where the rows of each channel begin, to be raised.
func (s *scatter) begin() []int32 {
	s.at = append(s.at[:0], s.starts[:len(s.starts)-1]...)
	return s.at
}

// zeros returns a zero for each channel, to be raised.
func (s *scatter) zeros() []int32 {
	s.at = append(s.at[:0], s.starts[:len(s.starts)-1]...)
	clear(s.at)
	return s.at
}

// sort lays the numbers of the rows side by side, in order within a channel.
func (s *scatter) sort() {
	if cap(s.rows) < len(s.to) {
		s.rows = make([]int32, len(s.to))
	}
	s.rows = s.rows[:len(s.to)]
	at := s.begin()
	for i, c := range s.to {
		s.rows[at[c]] = int32(i)
		at[c]++
	}
}

// rowsOf returns the rows of a channel after sort.
func (s *scatter) rowsOf(channel int) []int32 {
	return s.rows[s.starts[channel]:s.starts[channel+1]]
}

// identity returns 0 to n-1.
func (s *scatter) identity(n int) []int32 {
	for i := len(s.all); i < n; i++ {
		s.all = append(s.all, int32(i))
	}
	return s.all[:n]
}

// hashRouter sends each row to the owner of its key group.
type hashRouter struct {
	key    columnar.KeyHasher
	owners *columnar.KeyTargets
	hashes []uint64
}

func (r *hashRouter) route(dst []int32, b *columnar.Batch, _ int) ([]int32, error) {
	r.hashes = r.key.HashRows(r.hashes[:0], b.Rows)
	return r.owners.Append(dst, r.hashes), nil
}

// customRouter asks the user's function for each row.
type customRouter struct {
	fn          func(rows any, i, parallelism int) int
	parallelism int
}

func (r customRouter) route(dst []int32, b *columnar.Batch, n int) ([]int32, error) {
	for i := range n {
		c := r.fn(b.Rows, i, r.parallelism)
		if c < 0 || c >= r.parallelism {
			return nil, fmt.Errorf("the partitioning function returned subtask %d of %d: return 0 to %d", c, r.parallelism, r.parallelism-1)
		}
		dst = append(dst, int32(c))
	}
	return dst, nil
}
