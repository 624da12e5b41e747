package exchangegrpc

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
)

func someHello() *hello {
	return &hello{
		job: "j1", attempt: 300, worker: "wa", to: "wb", token: "tok", fingerprint: "fp",
		channels: []exchange.ChannelID{{Stream: 1, From: 2, To: 3}, {Stream: 200, From: 0, To: 1}},
	}
}

// The bytes of version 1 (docs/formats/exchange.md) never change.
func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	barrier := exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: 7, TimestampMillis: -2, Savepoint: true, Final: true}}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"hello":     {someHello().append(nil), "014c454154580100" + "026a31" + "027761" + "027762" + "03746f6b" + "026670" + "ac02" + "02" + "010203" + "c8010001"},
		"welcome":   {appendWelcome(nil, 300), "02ac02"},
		"data":      {appendHeads(nil, []head{{channel: 1, kind: exchange.KindBatch, length: 300}, {channel: 200, kind: exchange.KindEnd}}), "03020101ac02c8010500"},
		"grants":    {appendGrants(nil, []grant{{channel: 1, bytes: 300}, {channel: 2, bytes: 1}}), "0401ac020201"},
		"watermark": {appendControl(nil, exchange.Element{Kind: exchange.KindWatermark, Time: -2}), "feffffffffffffff"},
		"idle":      {appendControl(nil, exchange.Element{Kind: exchange.KindStatus, Idle: true}), "01"},
		"barrier":   {appendControl(nil, barrier), "070305"},
		"end":       {appendControl(nil, exchange.Element{Kind: exchange.KindEnd}), ""},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestHelloRoundTrip(t *testing.T) {
	t.Parallel()
	b := someHello().append(nil)
	h, err := parseHello(b)
	if err != nil || !reflect.DeepEqual(h, someHello()) {
		t.Fatalf("%+v, %v", h, err)
	}
	for i := range b {
		if _, err := parseHello(b[:i]); err == nil {
			t.Errorf("%d of %d bytes were accepted", i, len(b))
		}
	}
	if _, err := parseHello(append(b, 0)); err == nil {
		t.Error("a byte too many was accepted")
	}
	b[6] = 99
	if _, err := parseHello(b); err == nil {
		t.Error("version 99 was accepted")
	}
}

func TestControlRoundTrip(t *testing.T) {
	t.Parallel()
	for _, el := range []exchange.Element{
		{Kind: exchange.KindWatermark, Time: dataflow.TimeMax}, {Kind: exchange.KindWatermark, Time: dataflow.TimeMin},
		{Kind: exchange.KindStatus, Idle: true}, {Kind: exchange.KindStatus}, {Kind: exchange.KindEnd},
		{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: 1 << 40, TimestampMillis: 1 << 50, Stop: true}},
	} {
		got, err := parseElement(el.Kind, appendControl(nil, el))
		if err != nil || !reflect.DeepEqual(got, el) {
			t.Errorf("%+v became %+v, %v", el, got, err)
		}
	}
}

// No bytes of a peer panic, make large things out of few bytes, or name what
// does not exist.
func FuzzMessages(f *testing.F) {
	f.Add(someHello().append(nil))
	f.Add(appendWelcome(nil, 1<<20))
	data := appendHeads(nil, []head{{channel: 1, kind: exchange.KindWatermark, length: 8}, {channel: 0, kind: exchange.KindBatch, length: 3}})
	f.Add(append(data, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
	f.Add(appendGrants(nil, []grant{{channel: 1, bytes: 300}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHello(b); err == nil && !bytes.Equal(h.append(nil), b) {
			// Numbers may be written longer than needed; what is read again
			// must be the same.
			again, err := parseHello(h.append(nil))
			if err != nil || !reflect.DeepEqual(again, h) {
				t.Errorf("%+v became %+v, %v", h, again, err)
			}
		}
		if w, err := parseWelcome(b); err == nil && w < 1 {
			t.Errorf("window %d", w)
		}
		const channels = 3
		_, _ = parseData(b, nil, channels, func(h head, payload []byte) error {
			if h.channel < 0 || h.channel >= channels || len(payload) != h.length {
				t.Errorf("head %+v with %d bytes", h, len(payload))
			}
			_, err := parseElement(h.kind, payload)
			return err
		})
		_ = parseGrants(b, channels, func(g grant) error {
			if g.channel < 0 || g.channel >= channels || g.bytes < 0 {
				t.Errorf("grant %+v", g)
			}
			return nil
		})
	})
}

// TestWhatIsNotExpectedIsShown: the error about a message out of place shows
// how it begins.
func TestWhatIsNotExpectedIsShown(t *testing.T) {
	t.Parallel()
	stranger := []byte("GET / HTTP/1.1")
	_, hello := parseHello(stranger)
	_, welcome := parseWelcome(stranger)
	_, data := parseData(stranger, nil, 1, nil)
	for name, err := range map[string]error{"hello": hello, "welcome": welcome, "data": data, "grants": parseGrants(stranger, 1, nil)} {
		if err == nil || !strings.Contains(err.Error(), `"GET / HT" (14 bytes)`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
