package exchangegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
	"github.com/leatstream/leat/runtime/exchange/exchangemem"
	"github.com/leatstream/leat/runtime/mailbox"
)

type row struct {
	Seq  int64
	Text string
}

func rowType(t testing.TB) columnar.RowType {
	t.Helper()
	rt, err := columnar.TypeOf[row]()
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

var creds = exchange.Credentials{Token: "token", Fingerprint: "print"}

// pair is two workers with n channels from the first to the second.
type pair struct {
	from, to exchange.Endpoint
	gate     *exchange.Gate
	box      *mailbox.Mailbox // of the consumer
	senders  []exchange.Sender
	boxes    []*mailbox.Mailbox // of the producers
	failed   chan error         // of producers
}

func connectPair(t *testing.T, n exchange.Network, channels int) *pair {
	t.Helper()
	p := &pair{box: mailbox.New(), failed: make(chan error, channels)}
	listen := func(id string) exchange.Endpoint {
		e, err := n.Listen(exchange.ListenConfig{WorkerID: id, Job: "job", Attempt: 1, Host: "127.0.0.1", HostID: "here", SocketDir: t.TempDir(), Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}
	p.from, p.to = listen("from"), listen("to")
	var specs []exchange.ChannelSpec
	out := exchange.Outbound{Credentials: creds}
	for f := range channels {
		id := exchange.ChannelID{Stream: 1, From: f}
		specs = append(specs, exchange.ChannelSpec{ID: id, Type: rowType(t)})
		box := mailbox.New()
		p.boxes = append(p.boxes, box)
		out.Channels = append(out.Channels, exchange.OutboundChannel{ID: id, Type: rowType(t), Wake: box.Wake, Fail: func(err error) { p.failed <- err }})
	}
	p.gate = exchange.NewGate(specs, p.box.Wake)
	in := exchange.Inbound{Credentials: creds}
	for i := range channels {
		in.Channels = append(in.Channels, p.gate.Channel(i))
	}
	p.to.Admit(in)
	var err error
	if p.senders, err = p.from.Dial(t.Context(), peerOf("to", p.to), out); err != nil {
		t.Fatal(err)
	}
	return p
}

// next waits for the next element.
func (p *pair) next(t *testing.T) (int, exchange.Element, error) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		c, el, ok, err := p.gate.Next()
		if ok || err != nil {
			return c, el, err
		}
		p.box.Arm()
		if c, el, ok, err = p.gate.Next(); ok || err != nil {
			return c, el, err
		}
		select {
		case <-p.box.C():
		case <-timeout.C:
			t.Fatal("nothing came")
		}
	}
}

func eachNetwork(t *testing.T, run func(t *testing.T, n exchange.Network)) {
	t.Helper()
	for name, n := range map[string]exchange.Network{"grpc": &exchangegrpc.Network{}, "memory": exchangemem.New()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, n)
		})
	}
}

// Random elements of many channels arrive in order, complete, and equal.
func TestChannelsKeepOrder(t *testing.T) {
	t.Parallel()
	eachNetwork(t, func(t *testing.T, n exchange.Network) {
		const channels, each = 9, 400
		p := connectPair(t, n, channels)
		var wg sync.WaitGroup
		for c := range channels {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(c), 3))
				seq := int64(0)
				for i := range each {
					waitReady(p.senders[c], p.boxes[c])
					sendRandom(r, p.senders[c], &seq, i)
				}
				p.senders[c].Send(exchange.Element{Kind: exchange.KindEnd})
			}()
		}
		models := make([]*model, channels)
		for c := range models {
			models[c] = &model{r: rand.New(rand.NewPCG(uint64(c), 3))}
		}
		for open := channels; open > 0; {
			c, el, err := p.next(t)
			if err != nil {
				t.Fatal(err)
			}
			if el.Kind == exchange.KindEnd {
				open--
				if models[c].done != each {
					t.Errorf("channel %d ended after %d steps", c, models[c].done)
				}
				continue
			}
			if err := models[c].take(el); err != nil {
				t.Fatalf("channel %d: %v", c, err)
			}
		}
		wg.Wait()
		// After the ends nobody fails.
		_ = p.to.Close()
		_ = p.from.Close()
		if _, _, ok, err := p.gate.Next(); ok || err != nil {
			t.Errorf("after the clean end: %v, %v", ok, err)
		}
		select {
		case err := <-p.failed:
			t.Errorf("a producer failed after the clean end: %v", err)
		default:
		}
	})
}

func waitReady(s exchange.Sender, box *mailbox.Mailbox) {
	for !s.Ready() {
		box.Arm()
		if !s.Ready() {
			<-box.C()
		}
	}
}

// sendRandom sends one element; model.take knows the same sequence.
func sendRandom(r *rand.Rand, s exchange.Sender, seq *int64, step int) {
	switch r.IntN(6) {
	case 0:
		s.Send(exchange.Element{Kind: exchange.KindWatermark, Time: int64(step) - 7})
	case 1:
		s.Send(exchange.Element{Kind: exchange.KindStatus, Idle: r.IntN(2) == 0})
	case 2:
		s.Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: barrierOf(step)})
	default:
		n := 1 + r.IntN([]int{2, 100, 3000}[r.IntN(3)])
		rows, times := make([]row, n), make([]int64, n)
		for i := range rows {
			rows[i] = row{Seq: *seq, Text: strings.Repeat("x", int(*seq%97))}
			times[i] = *seq * 3
			*seq++
		}
		s.Send(exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch(rows, times)})
	}
}

func barrierOf(step int) *exchange.Barrier {
	return &exchange.Barrier{
		ID: dataflow.CheckpointID(step + 1), TimestampMillis: int64(step) - 5,
		Savepoint: step%2 == 0, Stop: step%3 == 0, Final: step%5 == 0,
	}
}

// model follows one channel.
type model struct {
	r     *rand.Rand
	done  int
	seq   int64 // next row that comes
	until int64 // rows that the producer has sent by now
}

func (m *model) take(el exchange.Element) error {
	if el.Kind == exchange.KindBatch {
		for i, x := range columnar.Rows[row](el.Batch) {
			if x.Seq != m.seq || len(x.Text) != int(m.seq%97) || el.Batch.Time(i) != m.seq*3 {
				return fmt.Errorf("row %+v at %d, want %d", x, el.Batch.Time(i), m.seq)
			}
			m.seq++
		}
		for m.until < m.seq { // a batch may come in pieces
			if k := m.r.IntN(6); k < 3 {
				return fmt.Errorf("rows instead of control element %d", k)
			}
			m.until += int64(1 + m.r.IntN([]int{2, 100, 3000}[m.r.IntN(3)]))
			m.done++
		}
		return nil
	}
	if m.seq != m.until {
		return fmt.Errorf("%s after %d of %d rows", el.Kind, m.seq, m.until)
	}
	step := m.done
	m.done++
	switch m.r.IntN(6) {
	case 0:
		if el.Kind != exchange.KindWatermark || el.Time != int64(step)-7 {
			return fmt.Errorf("%s %d, want watermark %d", el.Kind, el.Time, step-7)
		}
	case 1:
		if idle := m.r.IntN(2) == 0; el.Kind != exchange.KindStatus || el.Idle != idle {
			return fmt.Errorf("%s %v, want status %v", el.Kind, el.Idle, idle)
		}
	case 2:
		if el.Kind != exchange.KindBarrier || *el.Barrier != *barrierOf(step) {
			return fmt.Errorf("%s %v, want barrier %v", el.Kind, el.Barrier, barrierOf(step))
		}
	default:
		return fmt.Errorf("%s instead of rows", el.Kind)
	}
	return nil
}

// A channel that nobody reads holds a bounded amount, stops its own producer
// and no other.
func TestStalledChannelStopsOnlyItself(t *testing.T) {
	t.Parallel()
	p := connectPair(t, &exchangegrpc.Network{}, 2)
	p.gate.Block(0)
	text := strings.Repeat("y", 100)
	batch := func(seq int64) exchange.Element {
		rows := make([]row, 500)
		for i := range rows {
			rows[i] = row{Seq: seq, Text: text}
		}
		return exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch(rows, nil)}
	}
	sent := 0
	for sent < 100<<20 && p.senders[0].Ready() {
		sent += p.senders[0].Send(batch(0))
	}
	if limit := 4 * exchange.WindowMax; sent > limit {
		t.Fatalf("%d bytes were taken from the producer of a channel that nobody reads, limit %d", sent, limit)
	}
	const each = 400 // some 20 MiB, many windows
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range each {
			waitReady(p.senders[1], p.boxes[1])
			p.senders[1].Send(batch(int64(i)))
		}
	}()
	for rows := 0; rows < each*500; {
		c, el, err := p.next(t)
		if err != nil || c != 1 {
			t.Fatalf("channel %d: %v", c, err)
		}
		rows += len(columnar.Rows[row](el.Batch))
	}
	<-done
	// Read again, the stalled channel gives its producer room.
	p.gate.Unblock(0)
	for got := 0; !p.senders[0].Ready(); got++ {
		if c, _, err := p.next(t); err != nil || c != 0 {
			t.Fatalf("channel %d: %v", c, err)
		}
	}
}

// When one end goes away before the end element, both ends hear of it.
func TestLostConnectionFailsBothEnds(t *testing.T) {
	t.Parallel()
	eachNetwork(t, func(t *testing.T, n exchange.Network) {
		for _, who := range []string{"from", "to"} {
			p := connectPair(t, n, 2)
			p.senders[0].Send(exchange.Element{Kind: exchange.KindEnd})
			if c, el, err := p.next(t); err != nil || c != 0 || el.Kind != exchange.KindEnd {
				t.Fatal(c, el.Kind, err)
			}
			gone := map[string]exchange.Endpoint{"from": p.from, "to": p.to}[who]
			_ = gone.Close()
			if _, _, err := p.next(t); err == nil || !strings.Contains(err.Error(), "lost") {
				t.Errorf("%s closed: consumer got %v", who, err)
			}
			if err := <-p.failed; err == nil || !strings.Contains(err.Error(), "lost") {
				t.Errorf("%s closed: producer got %v", who, err)
			}
			select {
			case err := <-p.failed:
				t.Errorf("the channel that had ended failed too: %v", err)
			default:
			}
			_ = p.from.Close()
			_ = p.to.Close()
		}
	})
}

// A peer of another attempt, job or graph, or without the token, is refused.
func TestHandshakeRefuses(t *testing.T) {
	t.Parallel()
	eachNetwork(t, func(t *testing.T, n exchange.Network) {
		to, err := n.Listen(exchange.ListenConfig{WorkerID: "to", Job: "job", Attempt: 2, Host: "127.0.0.1", Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = to.Close() }()
		id := exchange.ChannelID{Stream: 1}
		g := exchange.NewGate([]exchange.ChannelSpec{{ID: id, Type: rowType(t)}}, func() {})
		to.Admit(exchange.Inbound{Credentials: creds, Channels: []*exchange.Channel{g.Channel(0)}})
		good := exchange.ListenConfig{Job: "job", Attempt: 2, Host: "127.0.0.1", Log: quiet()}
		for name, c := range map[string]struct {
			change func(*exchange.ListenConfig)
			creds  exchange.Credentials
			id     exchange.ChannelID
			want   string
		}{
			"attempt":     {change: func(l *exchange.ListenConfig) { l.Attempt = 1 }, creds: creds, id: id, want: "attempt 2"},
			"job":         {change: func(l *exchange.ListenConfig) { l.Job = "other" }, creds: creds, id: id, want: "other"},
			"token":       {creds: exchange.Credentials{Token: "guess", Fingerprint: "print"}, id: id, want: "token"},
			"fingerprint": {creds: exchange.Credentials{Token: "token", Fingerprint: "other"}, id: id, want: "graph"},
			"channel":     {creds: creds, id: exchange.ChannelID{Stream: 9}, want: "channel"},
		} {
			cfg := good
			cfg.WorkerID = "from " + name
			if c.change != nil {
				c.change(&cfg)
			}
			from, err := n.Listen(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = from.Dial(t.Context(), peerOf("to", to), exchange.Outbound{Credentials: c.creds, Channels: []exchange.OutboundChannel{{ID: c.id, Type: rowType(t), Wake: func() {}, Fail: func(error) {}}}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want one with %q", name, err, c.want)
			}
			_ = from.Close()
		}
	})
}

// Dial waits until the peer admits, and ends with its context.
func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	eachNetwork(t, func(t *testing.T, n exchange.Network) {
		listen := func(id string) exchange.Endpoint {
			e, err := n.Listen(exchange.ListenConfig{WorkerID: id, Job: "job", Attempt: 1, Host: "127.0.0.1", Log: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			return e
		}
		from, to := listen("from"), listen("to")
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, err := from.Dial(ctx, peerOf("to", to), exchange.Outbound{Credentials: creds})
			result <- err
		}()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestABarrierNeedsNoCredit: the consumer takes nothing, so that the producer
// has no credit left; the barrier and all before it arrive nevertheless, within
// a bound however many barriers there are, and the producer has room again once
// enough was taken.
func TestABarrierNeedsNoCredit(t *testing.T) {
	t.Parallel()
	eachNetwork(t, func(t *testing.T, n exchange.Network) {
		p := connectPair(t, n, 1)
		s, arrived := p.senders[0], func(id dataflow.CheckpointID) bool { b := p.gate.Queued(); return b != nil && b.ID == id }
		sent := 0
		for id := dataflow.CheckpointID(1); id <= 20; id++ {
			for s.Ready() {
				s.Send(exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch([]row{{Seq: int64(sent), Text: strings.Repeat("x", 60_000)}}, nil)})
				sent++
			}
			s.Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: id}})
			p.await(t, fmt.Sprintf("barrier %d", id), func() bool { return arrived(id) })
		}
		if most := 3 * exchange.WindowMax / 60_000; sent > most {
			t.Errorf("%d batches were sent to a consumer that takes none, at most %d are expected", sent, most)
		}
		for seq, barriers := 0, 0; seq < sent || barriers < 20; {
			_, el, err := p.next(t)
			switch {
			case err != nil:
				t.Fatal(err)
			case el.Kind == exchange.KindBarrier:
				barriers++
			case columnar.Rows[row](el.Batch)[0].Seq != int64(seq):
				t.Fatalf("row %d, want %d", columnar.Rows[row](el.Batch)[0].Seq, seq)
			default:
				seq++
			}
		}
		waitReady(s, p.boxes[0])
		s.Send(exchange.Element{Kind: exchange.KindEnd})
		if _, el, err := p.next(t); err != nil || el.Kind != exchange.KindEnd {
			t.Fatal(el, err)
		}
	})
}

// await waits until something is so that the consumer is woken for.
func (p *pair) await(t *testing.T, what string, so func() bool) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for !so() {
		p.box.Arm()
		if so() {
			return
		}
		select {
		case <-p.box.C():
		case <-timeout.C:
			t.Fatalf("%s did not come", what)
		}
	}
}
