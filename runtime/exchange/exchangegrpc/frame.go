package exchangegrpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
)

// The messages of docs/formats/exchange.md. Each begins with its type.
const (
	typeHello   = 1
	typeWelcome = 2
	typeData    = 3
	typeGrant   = 4
)

// ProtocolVersion is the version of the exchange protocol. Both ends are the
// same executable, so a difference is a mistake of the deployment.
const ProtocolVersion = 1

const magic = "LEATX"

// Limits of what a peer may say.
const (
	// ChannelsMax bounds the channels of one connection.
	ChannelsMax = 1 << 22
	// StringMax bounds a string of the hello.
	StringMax = 4096
)

var errTruncated = errors.New("message is truncated")

// hello is the first message of a producer.
type hello struct {
	job         dataflow.JobID
	attempt     dataflow.Attempt
	worker      string // of the producer
	to          string // of the consumer
	token       string
	fingerprint string
	channels    []exchange.ChannelID
}

func (h *hello) append(b []byte) []byte {
	b = append(b, typeHello)
	b = append(b, magic...)
	b = append(b, ProtocolVersion, 0) // reserved
	for _, s := range []string{string(h.job), h.worker, h.to, h.token, h.fingerprint} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(h.attempt))
	b = binary.AppendUvarint(b, uint64(len(h.channels)))
	for _, c := range h.channels {
		b = binary.AppendUvarint(b, uint64(c.Stream))
		b = binary.AppendUvarint(b, uint64(c.From))
		b = binary.AppendUvarint(b, uint64(c.To))
	}
	return b
}

func parseHello(b []byte) (*hello, error) {
	prefix := len(magic) + 3
	if len(b) < prefix || b[0] != typeHello || string(b[1:1+len(magic)]) != magic {
		return nil, fmt.Errorf("the peer does not speak the exchange protocol, it began with %s: is this the address of a worker?", begins(b))
	}
	if v := b[1+len(magic)]; v != ProtocolVersion {
		return nil, fmt.Errorf("the peer speaks version %d of the exchange protocol, this worker %d: all workers of a job run one bundle", v, ProtocolVersion)
	}
	r := reader{b: b[prefix:]}
	h := &hello{
		job: dataflow.JobID(r.string()), worker: r.string(), to: r.string(), token: r.string(), fingerprint: r.string(),
		attempt: dataflow.Attempt(r.uvarint(1 << 62)),
	}
	n := r.uvarint(ChannelsMax)
	for range n {
		h.channels = append(h.channels, exchange.ChannelID{
			Stream: r.uvarint(1 << 30), From: r.uvarint(1 << 30), To: r.uvarint(1 << 30),
		})
		if r.err != nil {
			break
		}
	}
	return h, r.end()
}

// begins shows what a message is that was not expected.
func begins(b []byte) string {
	return fmt.Sprintf("%q (%d bytes)", b[:min(len(b), 8)], len(b))
}

// appendWelcome is the consumer's answer: the window of each channel.
func appendWelcome(b []byte, window int) []byte {
	return binary.AppendUvarint(append(b, typeWelcome), uint64(window))
}

func parseWelcome(b []byte) (window int, err error) {
	if len(b) == 0 || b[0] != typeWelcome {
		return 0, fmt.Errorf("the peer answered with %s instead of a welcome: all workers of a job run one bundle", begins(b))
	}
	r := reader{b: b[1:]}
	window = r.uvarint(1 << 30)
	if r.err == nil && window < 1 {
		return 0, fmt.Errorf("the peer grants a window of %d bytes, at least 1 is needed", window)
	}
	return window, r.end()
}

// head describes an element in the head of a data message; the payloads
// follow the heads in the same order.
type head struct {
	channel int
	kind    exchange.Kind
	length  int
}

// appendHeads begins a data message.
func appendHeads(b []byte, heads []head) []byte {
	b = append(b, typeData)
	b = binary.AppendUvarint(b, uint64(len(heads)))
	for _, h := range heads {
		b = binary.AppendUvarint(b, uint64(h.channel))
		b = append(b, byte(h.kind))
		b = binary.AppendUvarint(b, uint64(h.length))
	}
	return b
}

// parseData calls fn for each element of a data message. Payloads alias b.
func parseData(b []byte, heads []head, channels int, fn func(h head, payload []byte) error) ([]head, error) {
	if len(b) == 0 || b[0] != typeData {
		return heads, fmt.Errorf("the peer sent %s where only data may come: all workers of a job run one bundle", begins(b))
	}
	r := reader{b: b[1:]}
	n := r.uvarint(len(b))
	heads = heads[:0]
	for i := 0; i < n && r.err == nil; i++ {
		heads = append(heads, head{channel: r.uvarint(channels - 1), kind: exchange.Kind(r.byte()), length: r.uvarint(len(b))})
	}
	for _, h := range heads {
		payload := r.bytes(h.length)
		if r.err != nil {
			break
		}
		if err := fn(h, payload); err != nil {
			return heads, err
		}
	}
	return heads, r.end()
}

const (
	barrierSavepoint = 1 << iota
	barrierStop
	barrierFinal
	barrierOvertakes
)

// appendControl appends the payload of an element other than a batch.
func appendControl(b []byte, el exchange.Element) []byte {
	switch el.Kind {
	case exchange.KindWatermark:
		b = binary.LittleEndian.AppendUint64(b, uint64(el.Time))
	case exchange.KindStatus:
		b = append(b, flag(el.Idle, 1))
	case exchange.KindBarrier:
		b = binary.AppendUvarint(b, uint64(el.Barrier.ID))
		b = binary.AppendVarint(b, el.Barrier.TimestampMillis)
		b = append(b, flag(el.Barrier.Savepoint, barrierSavepoint)|flag(el.Barrier.Stop, barrierStop)|flag(el.Barrier.Final, barrierFinal)|flag(el.Barrier.Overtakes, barrierOvertakes))
	case exchange.KindBatch, exchange.KindEnd:
	}
	return b
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// parseElement makes the element of a payload, which it keeps for a batch.
func parseElement(kind exchange.Kind, payload []byte) (exchange.Element, error) {
	el := exchange.Element{Kind: kind}
	r := reader{b: payload}
	switch kind {
	case exchange.KindBatch:
		if len(payload) == 0 {
			return el, errors.New("a batch of 0 bytes: even one without rows has a head")
		}
		el.Bytes = payload[:len(payload):len(payload)]
		return el, nil
	case exchange.KindWatermark:
		if b := r.bytes(8); r.err == nil {
			el.Time = int64(binary.LittleEndian.Uint64(b))
		}
	case exchange.KindStatus:
		el.Idle = r.byte()&1 != 0
	case exchange.KindBarrier:
		id := r.uvarint(1 << 62)
		ts := r.varint()
		f := r.byte()
		el.Barrier = &exchange.Barrier{
			ID: dataflow.CheckpointID(id), TimestampMillis: ts,
			Savepoint: f&barrierSavepoint != 0, Stop: f&barrierStop != 0, Final: f&barrierFinal != 0,
			Overtakes: f&barrierOvertakes != 0,
		}
	case exchange.KindEnd:
	default:
		return el, fmt.Errorf("element of unknown %s", kind)
	}
	return el, r.end()
}

// grant hands back credit of one channel.
type grant struct {
	channel, bytes int
}

func appendGrants(b []byte, grants []grant) []byte {
	b = append(b, typeGrant)
	for _, g := range grants {
		b = binary.AppendUvarint(b, uint64(g.channel))
		b = binary.AppendUvarint(b, uint64(g.bytes))
	}
	return b
}

func parseGrants(b []byte, channels int, fn func(grant) error) error {
	if len(b) == 0 || b[0] != typeGrant {
		return fmt.Errorf("the peer sent %s where only grants may come: all workers of a job run one bundle", begins(b))
	}
	r := reader{b: b[1:]}
	for len(r.b) > 0 && r.err == nil {
		g := grant{channel: r.uvarint(channels - 1), bytes: r.uvarint(1 << 30)}
		if r.err != nil {
			break
		}
		if err := fn(g); err != nil {
			return err
		}
	}
	return r.end()
}

// reader reads a message and remembers the first fault.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errTruncated)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// uvarint reads a number of at most limit.
func (r *reader) uvarint(limit int) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	if limit < 0 || v > uint64(limit) {
		r.fail(fmt.Errorf("number %d is above %d", v, limit))
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail(errTruncated)
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes(r.uvarint(StringMax))) }

// end returns the first fault, or that bytes are left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes after the end of the message", len(r.b))
	}
	return r.err
}
