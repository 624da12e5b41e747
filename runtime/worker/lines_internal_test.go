package worker

import (
	"math/rand/v2"
	"slices"
	"testing"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// TestLinesLoseNothingWithALeader: two ends talk over a leader that may go at
// any time with what it has not passed on; after each change both say again
// what was not confirmed. Each end hears every event once, in order.
func TestLinesLoseNothingWithALeader(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var toReader, toCoordinator []*controlv1.OperatorEvent // with the leader
		coordinator := newLines(func(ev *controlv1.OperatorEvent) { toReader = append(toReader, ev) })
		reader := newLines(func(ev *controlv1.OperatorEvent) { toCoordinator = append(toCoordinator, ev) })
		var heard [2][]byte
		pass := func(queue *[]*controlv1.OperatorEvent, to *lines, heard *[]byte) {
			if len(*queue) == 0 {
				return
			}
			ev := (*queue)[0]
			*queue = (*queue)[1:]
			if to.received(ev) {
				*heard = append(*heard, ev.GetPayload()...)
			}
		}
		change := func() {
			toReader, toCoordinator = nil, nil
			coordinator.resend()
			reader.resend()
		}
		said := 0
		for said < 100 {
			switch rng.IntN(7) {
			case 0, 1:
				said++
				coordinator.say(&controlv1.OperatorEvent{OperatorId: "op", Subtask: 3, Payload: []byte{byte(said)}})
				reader.say(&controlv1.OperatorEvent{OperatorId: "op", Subtask: 3, ToCoordinator: true, Payload: []byte{byte(said)}})
			case 2, 3:
				pass(&toReader, reader, &heard[0])
			case 4, 5:
				pass(&toCoordinator, coordinator, &heard[1])
			default:
				if rng.IntN(10) == 0 {
					change()
				}
			}
		}
		change()
		for len(toReader)+len(toCoordinator) > 0 {
			pass(&toReader, reader, &heard[0])
			pass(&toCoordinator, coordinator, &heard[1])
		}
		for end, got := range heard {
			want := make([]byte, 100)
			for i := range want {
				want[i] = byte(i + 1)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: end %d heard %v", seed, end, got)
			}
		}
		for at, s := range coordinator.out {
			if len(s.waiting) > 0 {
				t.Fatalf("seed %d: %d events of %v are kept although all were confirmed", seed, len(s.waiting), at)
			}
		}
	}
}
