package exchangegrpc_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t testing.TB, id string, socket bool) exchange.Endpoint {
	t.Helper()
	cfg := exchange.ListenConfig{WorkerID: id, Job: "job", Attempt: 1, Host: "127.0.0.1", HostID: "here", Log: quiet()}
	if socket {
		cfg.SocketDir = t.TempDir()
	}
	e, err := (&exchangegrpc.Network{}).Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func peerOf(id string, e exchange.Endpoint) exchange.Peer {
	return exchange.Peer{WorkerID: id, TCPAddress: e.TCPAddress(), UnixAddress: e.UnixAddress(), HostID: "here"}
}

func connectGRPC(socket bool) connect {
	return func(b *testing.B, ends []end, producers []*producer, rt columnar.RowType) {
		b.Helper()
		from, to := listen(b, "from", socket), listen(b, "to", socket)
		in := exchange.Inbound{Credentials: exchange.Credentials{Token: "t", Fingerprint: "f"}}
		out := exchange.Outbound{Credentials: in.Credentials}
		for f, p := range producers {
			for t, e := range ends {
				id := exchange.ChannelID{From: f, To: t}
				in.Channels = append(in.Channels, e.gate.Find(id))
				out.Channels = append(out.Channels, exchange.OutboundChannel{ID: id, Type: rt, Wake: p.box.Wake, Fail: func(err error) { b.Error(err) }})
			}
		}
		to.Admit(in)
		senders, err := from.Dial(b.Context(), peerOf("to", to), out)
		if err != nil {
			b.Fatal(err)
		}
		for i, s := range senders {
			producers[i/len(ends)].targets = append(producers[i/len(ends)].targets, s)
		}
	}
}
