package exchangegrpc_test

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
)

// wide is a row of 64 bytes with a string key.
type wide struct {
	Key           string
	A, B, C, D, E int64
	F             float64
}

func wideBatch(n, seed int) *columnar.Batch {
	rows := make([]wide, n)
	times := make([]int64, n)
	for i := range rows {
		k := seed + i*7919
		rows[i] = wide{Key: fmt.Sprintf("key-%06d", k%100_000), A: int64(k), B: int64(i), C: 3, D: int64(seed), E: int64(k * i), F: float64(k)}
		times[i] = int64(1_700_000_000_000 + i)
	}
	return &columnar.Batch{Rows: rows, Times: times}
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

const benchPar = 4

// BenchmarkKeyedExchange moves rows from two producers over a hash edge to
// four consumers, and reports rows per second of processor time, both ends
// together.
func BenchmarkKeyedExchange(b *testing.B) {
	b.Run("process", func(b *testing.B) { benchmark(b, connectLocal) })
	b.Run("unix", func(b *testing.B) { benchmark(b, connectGRPC(true)) })
	b.Run("tcp", func(b *testing.B) { benchmark(b, connectGRPC(false)) })
}

type end struct {
	box  *mailbox.Mailbox
	gate *exchange.Gate
}

type producer struct {
	box     *mailbox.Mailbox
	targets []exchange.Sender
}

type connect func(b *testing.B, ends []end, producers []*producer, rt columnar.RowType)

func connectLocal(_ *testing.B, ends []end, producers []*producer, _ columnar.RowType) {
	for f, p := range producers {
		for t, e := range ends {
			c := e.gate.Find(exchange.ChannelID{From: f, To: t})
			c.SetProducer(p.box.Wake)
			p.targets = append(p.targets, c)
		}
	}
}

func benchmark(b *testing.B, join connect) {
	rt, err := columnar.TypeOf[wide]()
	if err != nil {
		b.Fatal(err)
	}
	key, err := columnar.HasherOf(func(w wide) string { return w.Key })
	if err != nil {
		b.Fatal(err)
	}
	producers := []*producer{{box: mailbox.New()}, {box: mailbox.New()}}
	ends := make([]end, benchPar)
	for t := range ends {
		box := mailbox.New()
		var specs []exchange.ChannelSpec
		for f := range producers {
			specs = append(specs, exchange.ChannelSpec{ID: exchange.ChannelID{From: f, To: t}, Type: rt})
		}
		ends[t] = end{box: box, gate: exchange.NewGate(specs, box.Wake)}
	}
	join(b, ends, producers, rt)
	source := make([]*columnar.Batch, 32)
	for i := range source {
		source[i] = wideBatch(columnar.BatchRowsMax, i)
		source[i].Shared = true
	}
	// A worker has state: with an empty heap the collector would run for each
	// few batches.
	ballast := make([]byte, 256<<20)
	defer runtime.KeepAlive(ballast)
	edge := &graph.Edge{Partitioning: graph.Hash, Type: rt, Key: key}
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu()
	var wg sync.WaitGroup
	for f, p := range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out, err := exchange.NewOutput(exchange.OutputConfig{Edge: edge, MaxParallelism: 1024, ToParallelism: benchPar, From: f, Targets: p.targets})
			if err != nil {
				b.Error(err)
				return
			}
			produce(p.box, out, source, b.N/len(producers))
		}()
	}
	for _, e := range ends {
		wg.Add(1)
		go func() {
			defer wg.Done()
			consume(b, e, rt)
		}()
	}
	wg.Wait()
	rows := float64(b.N/len(producers)*len(producers)) * columnar.BatchRowsMax
	b.ReportMetric(rows/(cpu()-start)/1e6, "Mrows/cpu-s")
	b.ReportMetric(rows/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func produce(box *mailbox.Mailbox, out *exchange.Output, source []*columnar.Batch, n int) {
	for i := range n {
		for !out.Ready() {
			box.Arm()
			if out.Ready() {
				break
			}
			<-box.C()
		}
		_ = out.Write(source[i%len(source)])
	}
	out.Control(exchange.Element{Kind: exchange.KindEnd})
}

func consume(b *testing.B, e end, rt columnar.RowType) {
	for left := e.gate.Len(); left > 0; {
		_, el, ok, err := e.gate.Next()
		if err != nil {
			b.Error(err)
			return
		}
		if !ok {
			e.box.Arm()
			if _, el, ok, err = e.gate.Next(); !ok && err == nil {
				<-e.box.C()
				continue
			}
		}
		switch el.Kind {
		case exchange.KindEnd:
			left--
		case exchange.KindBatch:
			_ = rt.Len(el.Batch.Rows)
		default:
		}
	}
}
