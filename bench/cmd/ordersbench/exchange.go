package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
	"github.com/leatstream/leat/runtime/mailbox"
)

// wide is a row of 64 bytes with a text as its key.
type wide struct {
	Key           string
	A, B, C, D, E int64
	F             float64
}

// The exchange that is measured: a keyed edge from two subtasks to four.
const (
	exchangeRows      = 40_000_000
	exchangeProducers = 2
	exchangeConsumers = 4
	exchangeBatches   = 32 // different ones, sent again and again
	exchangeKeys      = 100_000
)

// exchange moves rows from one process to another over a unix socket, then
// between the goroutines of one process.
func (b *bench) exchange(ctx context.Context) error {
	var two, one, score []float64
	for i := range b.runs {
		score = append(score, calibrate())
		cpu, err := b.twoProcesses(ctx, filepath.Join(b.dir, fmt.Sprintf("x%d", i+1)))
		if err != nil {
			return err
		}
		two = append(two, exchangeRows/cpu.Seconds())
		if _, cpu, err = selfWith(ctx, workerEnvironment(1), "child-exchange"); err != nil {
			return err
		}
		one = append(one, exchangeRows/cpu.Seconds())
	}
	b.rep.row("two processes, unix socket, both ends", "rows/CPU-s", two)
	b.rep.row("one process", "rows/CPU-s", one)
	b.rep.row("calibration", "passes/CPU-s", score)
	return nil
}

// workerEnvironment is what a taskmanager sets for each of n workers that
// share this machine.
func workerEnvironment(n int) []string {
	return []string{"GOGC=400", "GOMEMLIMIT=850MiB", fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.NumCPU()/n))}
}

// twoProcesses returns the processor time of both, with their starts.
func (b *bench) twoProcesses(ctx context.Context, dir string) (time.Duration, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	path, err := os.Executable()
	if err != nil {
		return 0, err
	}
	p, err := startProgram(dir, "receiver", path, workerEnvironment(2), "child-receive", dir)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	address := filepath.Join(dir, "address")
	if err := p.await(ctx, startMax, func() bool { _, err := os.Stat(address); return err == nil }); err != nil {
		return 0, err
	}
	_, sent, err := selfWith(ctx, workerEnvironment(2), "child-send", dir)
	if err != nil {
		return 0, err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if p.err != nil {
		return 0, fmt.Errorf("receiver: %w; its log is %s", p.err, p.logPath)
	}
	return sent + p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
}

// side is what sender and receiver have in common.
type side struct {
	rows   columnar.RowType
	edge   *graph.Edge
	gates  []*exchange.Gate
	boxes  []*mailbox.Mailbox
	failed chan error
}

func newSide() (*side, error) {
	rt, err := columnar.TypeOf[wide]()
	if err != nil {
		return nil, err
	}
	key, err := columnar.HasherOf(func(w wide) string { return w.Key })
	if err != nil {
		return nil, err
	}
	s := &side{rows: rt, edge: &graph.Edge{Partitioning: graph.Hash, Type: rt, Key: key}, failed: make(chan error, 1)}
	return s, nil
}

func (s *side) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func (s *side) addGates() {
	for t := range exchangeConsumers {
		box := mailbox.New()
		var specs []exchange.ChannelSpec
		for f := range exchangeProducers {
			specs = append(specs, exchange.ChannelSpec{ID: exchange.ChannelID{From: f, To: t}, Type: s.rows})
		}
		s.gates, s.boxes = append(s.gates, exchange.NewGate(specs, box.Wake)), append(s.boxes, box)
	}
}

func credentials() exchange.Credentials {
	return exchange.Credentials{Token: "bench", Fingerprint: "bench"}
}

// receiveChild is the process of the consumers.
func receiveChild(args []string) error {
	s, err := newSide()
	if err != nil {
		return err
	}
	s.addGates()
	end, err := new(exchangegrpc.Network).Listen(exchange.ListenConfig{WorkerID: "to", Host: "127.0.0.1", SocketDir: args[0], HostID: "bench"})
	if err != nil {
		return err
	}
	in := exchange.Inbound{Credentials: credentials()}
	for _, g := range s.gates {
		for i := range g.Len() {
			in.Channels = append(in.Channels, g.Channel(i))
		}
	}
	end.Admit(in)
	temporary := filepath.Join(args[0], "address.new")
	if err := os.WriteFile(temporary, []byte(end.UnixAddress()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(args[0], "address")); err != nil {
		return err
	}
	err = s.consume()
	return errors.Join(err, os.Remove(filepath.Join(args[0], "address")), end.Close())
}

// sendChild is the process of the producers.
func sendChild(args []string) error {
	s, err := newSide()
	if err != nil {
		return err
	}
	end, err := new(exchangegrpc.Network).Listen(exchange.ListenConfig{WorkerID: "from", Host: "127.0.0.1", SocketDir: args[0], HostID: "bench"})
	if err != nil {
		return err
	}
	address, err := os.ReadFile(filepath.Join(args[0], "address"))
	if err != nil {
		return err
	}
	out := exchange.Outbound{Credentials: credentials()}
	boxes := make([]*mailbox.Mailbox, exchangeProducers)
	for f := range boxes {
		boxes[f] = mailbox.New()
		for t := range exchangeConsumers {
			out.Channels = append(out.Channels, exchange.OutboundChannel{ID: exchange.ChannelID{From: f, To: t}, Type: s.rows, Wake: boxes[f].Wake, Fail: s.fail})
		}
	}
	senders, err := end.Dial(context.Background(), exchange.Peer{WorkerID: "to", UnixAddress: string(address), HostID: "bench"}, out)
	if err != nil {
		return err
	}
	if err := s.produce(boxes, senders); err != nil {
		return err
	}
	// To close breaks what is under way: the receiver says when it has all.
	for {
		if _, err := os.Stat(filepath.Join(args[0], "address")); err != nil {
			return end.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// exchangeChild is both in one process.
func exchangeChild([]string) error {
	s, err := newSide()
	if err != nil {
		return err
	}
	s.addGates()
	boxes := make([]*mailbox.Mailbox, exchangeProducers)
	var senders []exchange.Sender
	for f := range boxes {
		boxes[f] = mailbox.New()
		for _, g := range s.gates {
			c := g.Channel(f)
			c.SetProducer(boxes[f].Wake)
			senders = append(senders, c)
		}
	}
	go func() {
		if err := s.produce(boxes, senders); err != nil {
			s.fail(err)
		}
	}()
	return s.consume()
}

// produce runs the producers to their end. senders are ordered by producer.
func (s *side) produce(boxes []*mailbox.Mailbox, senders []exchange.Sender) error {
	source := make([]*columnar.Batch, exchangeBatches)
	for i := range source {
		source[i] = wideBatch(i)
	}
	var wg sync.WaitGroup
	for f, box := range boxes {
		out, err := exchange.NewOutput(exchange.OutputConfig{
			Edge: s.edge, MaxParallelism: 1024, ToParallelism: exchangeConsumers, From: f, Targets: senders[f*exchangeConsumers : (f+1)*exchangeConsumers],
		})
		if err != nil {
			return err
		}
		wg.Go(func() {
			for i := range exchangeRows / exchangeProducers / columnar.BatchRowsMax {
				for !out.Ready() {
					if box.Arm(); out.Ready() {
						box.Disarm()
						break
					}
					<-box.C()
					box.Disarm()
				}
				if err := out.Write(source[i%len(source)]); err != nil {
					s.fail(err)
				}
			}
			out.Control(exchange.Element{Kind: exchange.KindEnd})
		})
	}
	wg.Wait()
	select {
	case err := <-s.failed:
		return err
	default:
		return nil
	}
}

// wideBatch makes a batch whose texts share one piece of memory, as those of
// every decoded batch do.
func wideBatch(seed int) *columnar.Batch {
	var arena codec.Arena
	rows, times := make([]wide, columnar.BatchRowsMax), make([]int64, columnar.BatchRowsMax)
	for i := range rows {
		k := seed + i*7919
		rows[i] = wide{arena.String(fmt.Appendf(nil, "key-%06d", k%exchangeKeys)), int64(k), int64(i), 3, int64(seed), int64(k * i), float64(k)}
		times[i] = 1_700_000_000_000 + int64(i)
	}
	b := columnar.NewBatch(rows, times)
	b.Shared = true // sent again
	return b
}

// consume takes everything out of the gates and checks that nothing is missing.
func (s *side) consume() error {
	var wg sync.WaitGroup
	counts := make([]int, len(s.gates))
	for t, g := range s.gates {
		wg.Go(func() {
			n, err := s.drain(g, s.boxes[t])
			if err != nil {
				s.fail(err)
			}
			counts[t] = n
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	want := exchangeRows / exchangeProducers / columnar.BatchRowsMax * columnar.BatchRowsMax * exchangeProducers
	select {
	case err := <-s.failed:
		return err
	default:
	}
	if total != want {
		return fmt.Errorf("%d rows came, %d were sent", total, want)
	}
	return nil
}

func (s *side) drain(g *exchange.Gate, box *mailbox.Mailbox) (rows int, err error) {
	for left := g.Len(); left > 0; {
		_, el, ok, err := g.Next()
		if !ok && err == nil {
			box.Arm()
			if _, el, ok, err = g.Next(); !ok && err == nil {
				<-box.C()
			}
			box.Disarm()
		}
		switch {
		case err != nil:
			return rows, err
		case !ok:
		case el.Kind == exchange.KindEnd:
			left--
		case el.Kind == exchange.KindBatch:
			rows += s.rows.Len(el.Batch.Rows)
			el.Batch.Release() // as operators do
		}
	}
	return rows, nil
}
