package netlab

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Rule says what becomes of the packets from one host to another.
type Rule struct {
	// Drop loses all of them.
	Drop bool
	// Delay and up to Jitter more are added to each; with Jitter packets
	// overtake each other.
	Delay, Jitter time.Duration
	// Lose and Double are parts of all packets, 0 to 1.
	Lose, Double float64
}

// waitingMax bounds the packets that are delayed at a time; more are lost.
const waitingMax = 20_000

// flowsMax bounds the connections that are remembered. When there are more all
// are forgotten, and dead ones are alive again.
const flowsMax = 200_000

type pair struct{ from, to netip.Addr }

// flow is a connection of TCP; a is the lesser end.
type flow struct{ a, b netip.AddrPort }

// network moves packets between devices.
type network struct {
	mu      sync.Mutex
	devices map[netip.Addr]*os.File // guarded by mu
	rules   map[pair]Rule           // guarded by mu
	flows   map[flow]bool           // guarded by mu; true: dead
	waiting int                     // guarded by mu
	closed  bool                    // guarded by mu

	readers sync.WaitGroup
}

func newNetwork() *network {
	return &network{devices: make(map[netip.Addr]*os.File), rules: make(map[pair]Rule), flows: make(map[flow]bool)}
}

// attach serves a device from now on.
func (n *network) attach(host string, tun *os.File) {
	n.mu.Lock()
	n.devices[netip.MustParseAddr(host)] = tun
	n.mu.Unlock()
	n.readers.Go(func() { n.read(tun) })
}

// alias sends the packets for host to the device of another.
func (n *network) alias(host, of string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.devices[netip.MustParseAddr(host)] = n.devices[netip.MustParseAddr(of)]
}

func (n *network) read(tun *os.File) {
	buf := make([]byte, 1<<16)
	for {
		size, err := tun.Read(buf)
		if errors.Is(err, fs.ErrClosed) {
			return
		}
		if err == nil {
			n.packet(buf[:size])
		}
	}
}

// packet sends one on. It borrows p.
func (n *network) packet(p []byte) {
	h, ok := parse(p)
	if !ok {
		return
	}
	n.mu.Lock()
	out, r := n.devices[h.to], n.rules[pair{h.from, h.to}]
	copies, delay := r.fate()
	if out == nil || n.closed || n.dead(h) || copies == 0 || delay > 0 && n.waiting >= waitingMax {
		n.mu.Unlock()
		return
	}
	if delay > 0 {
		n.waiting++
	}
	n.mu.Unlock()
	if delay == 0 {
		write(out, p, copies)
		return
	}
	late := append([]byte{}, p...)
	time.AfterFunc(delay, func() {
		n.mu.Lock()
		n.waiting--
		closed := n.closed
		n.mu.Unlock()
		if !closed {
			write(out, late, copies)
		}
	})
}

// write hands a packet to a host. One that is not taken is lost, as on a wire.
func write(out *os.File, p []byte, copies int) {
	for range copies {
		_, _ = out.Write(p) // see above
	}
}

// fate returns how often a packet arrives, and after what time. Chance here is
// not of the seed: the kernel's packets are not either.
func (r Rule) fate() (copies int, delay time.Duration) {
	if r.Drop || r.Lose > 0 && rand.Float64() < r.Lose {
		return 0, 0
	}
	copies = 1
	if r.Double > 0 && rand.Float64() < r.Double {
		copies = 2
	}
	delay = r.Delay
	if r.Jitter > 0 {
		delay += time.Duration(rand.Int64N(int64(r.Jitter)))
	}
	return copies, delay
}

// dead keeps the memory of connections and reports whether the packet is of
// one that was killed. The caller holds mu.
func (n *network) dead(h header) bool {
	if !h.tcp {
		return false
	}
	f := flow{netip.AddrPortFrom(h.from, h.source), netip.AddrPortFrom(h.to, h.dest)}
	if f.b.Compare(f.a) < 0 {
		f.a, f.b = f.b, f.a
	}
	if h.opens {
		if len(n.flows) >= flowsMax {
			clear(n.flows)
		}
		n.flows[f] = false
	}
	return n.flows[f]
}

// header is what the switch reads of a packet.
type header struct {
	from, to     netip.Addr
	tcp, opens   bool
	source, dest uint16
}

const protocolTCP = 6

// parse reads the headers of an IPv4 packet.
func parse(p []byte) (h header, ok bool) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return h, false
	}
	h.from, h.to = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	t := p[min(len(p), int(p[0]&15)*4):]
	if p[9] != protocolTCP || len(t) < 14 {
		return h, true
	}
	h.tcp, h.source, h.dest = true, binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	const syn, ack = 2, 16
	h.opens = t[13]&(syn|ack) == syn
	return h, true
}

func (n *network) close() error {
	n.mu.Lock()
	n.closed = true
	var errs []error
	for _, f := range n.devices {
		if err := f.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err) // an alias shares its device
		}
	}
	n.mu.Unlock()
	n.readers.Wait()
	return errors.Join(errs...)
}
