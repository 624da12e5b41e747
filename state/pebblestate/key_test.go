package pebblestate

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
)

// The encodings that docs/formats/pebble-state.md describes.
func TestKeysGolden(t *testing.T) {
	t.Parallel()
	plain := func(table uint16, ns int64, g dataflow.KeyGroup, key string) []byte {
		return append(appendPrefix(nil, table, ns, g), key...)
	}
	sub := func(key, sub string) []byte {
		return append(append(appendHead(nil, 1, 0, 5, []byte(key)), subMark), sub...)
	}
	for _, c := range []struct {
		what string
		key  []byte
		want string
	}{
		{"first table, namespace 0", plain(0, 0, 0, "k"), "0000" + "8000000000000000" + "0000" + "6b"},
		{"empty key", plain(1, 1, 2, ""), "0001" + "8000000000000001" + "0002"},
		{"namespace -1, last key group", plain(258, -1, 32767, "ab"), "0102" + "7fffffffffffffff" + "7fff" + "6162"},
		{"least namespace", plain(0, math.MinInt64, 1, "\x00"), "0000" + "0000000000000000" + "0001" + "00"},
		{"head", appendHead(nil, 1, 0, 5, []byte("a")), "0001" + "8000000000000000" + "0005" + "61" + "0001"},
		{"head of an empty key", appendHead(nil, 1, 0, 5, nil), "0001" + "8000000000000000" + "0005" + "0001"},
		{"head of a key with zeros", appendHead(nil, 1, 0, 5, []byte("a\x00\x00b")), "0001" + "8000000000000000" + "0005" + "6100ff00ff62" + "0001"},
		{"entry", sub("a", "s"), "0001" + "8000000000000000" + "0005" + "61" + "0001" + "01" + "73"},
		{"entry of an empty subkey", sub("a", ""), "0001" + "8000000000000000" + "0005" + "61" + "0001" + "01"},
		{"behind a map", appendAfter(nil, append(appendHead(nil, 1, 0, 5, nil), subMark)), "0001" + "8000000000000000" + "0005" + "0001" + "02"},
		{"behind the last namespace", appendAfter(nil, appendNamespace(nil, 1, math.MaxInt64)), "0002"},
		{"behind a namespace", appendAfter(nil, appendNamespace(nil, 1, 255)), "0001" + "80000000000001"},
	} {
		if got := hex.EncodeToString(c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// Keys sort as what they are made of does, and parse to it.
func TestKeysSortAndParse(t *testing.T) {
	t.Parallel()
	type item struct {
		ns       int64
		group    dataflow.KeyGroup
		key, sub []byte
		enc      []byte
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() []byte {
		b := make([]byte, rnd.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 0xfe, 0xff}[rnd.IntN(4)]
		}
		return b
	}
	var items []item
	for range 3000 {
		it := item{[]int64{math.MinInt64, -1, 0, 1, math.MaxInt64}[rnd.IntN(5)], dataflow.KeyGroup(rnd.IntN(300)), random(), random(), nil}
		it.enc = append(append(appendHead(nil, 7, it.ns, it.group, it.key), subMark), it.sub...)
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.enc, b.enc) })
	order := func(a, b item) int {
		switch {
		case a.ns != b.ns:
			return map[bool]int{true: -1, false: 1}[a.ns < b.ns]
		case a.group != b.group:
			return int(a.group) - int(b.group)
		}
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return bytes.Compare(a.sub, b.sub)
	}
	for i, it := range items {
		if i > 0 && order(items[i-1], it) > 0 {
			t.Fatalf("%x sorts before %x", items[i-1].enc, it.enc)
		}
		at, rest, err := parsePrefix(it.enc)
		if err != nil {
			t.Fatal(err)
		}
		key, sub, err := parseHead(nil, rest)
		if err != nil || at != (address{7, it.ns, it.group}) || !bytes.Equal(key, it.key) || !bytes.Equal(sub, append([]byte{subMark}, it.sub...)) {
			t.Fatalf("%x parses to %+v %x %x, %v", it.enc, at, key, sub, err)
		}
	}
}

func TestMalformedKeys(t *testing.T) {
	t.Parallel()
	if _, _, err := parsePrefix(make([]byte, prefixBytes-1)); err == nil {
		t.Error("a short prefix was accepted")
	}
	for _, b := range []string{"", "a", "a\x00", "a\x00\x02", "\x00\xff"} {
		if key, _, err := parseHead(nil, []byte(b)); err == nil {
			t.Errorf("%q was accepted as %q", b, key)
		}
	}
}
