package pebblestate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/leatstream/leat/dataflow"
)

// Keys of the database sort by table, namespace, key group, key and subkey.
// The namespace is before the key group, so that a window is one range: it is
// read and dropped with one seek, not with one for each key group.

const (
	tableBytes  = 2
	nsBytes     = 8
	groupBytes  = 2
	prefixBytes = tableBytes + nsBytes + groupBytes

	escape     = 0x00 // in a key with subkeys, 0x00 is written 0x00 0xff
	escaped    = 0xff
	terminator = 0x01 // 0x00 0x01 ends the key
	subMark    = 0x01 // before a subkey; what ends without it is the head
)

var (
	errKey   = errors.New("malformed key")
	errValue = errors.New("malformed value")
)

// logTable is the number of no table: under it lies the log of what was deleted.
const logTable = math.MaxUint16

// appendLog appends the key of a piece of the log.
func appendLog(dst []byte, epoch, piece uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(appendTable(dst, logTable), epoch), piece)
}

func appendTable(dst []byte, table uint16) []byte { return binary.BigEndian.AppendUint16(dst, table) }

// appendNamespace flips the sign bit, so that bytes sort as integers do.
func appendNamespace(dst []byte, table uint16, ns int64) []byte {
	return binary.BigEndian.AppendUint64(appendTable(dst, table), uint64(ns)^(1<<63))
}

func appendPrefix(dst []byte, table uint16, ns int64, g dataflow.KeyGroup) []byte {
	return binary.BigEndian.AppendUint16(appendNamespace(dst, table, ns), uint16(g))
}

// appendHead appends the key under which the number of a map's entries is.
func appendHead(dst []byte, table uint16, ns int64, g dataflow.KeyGroup, key []byte) []byte {
	dst = appendPrefix(dst, table, ns, g)
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 {
			break
		}
		dst = append(append(dst, key[:i]...), escape, escaped)
		key = key[i+1:]
	}
	return append(append(dst, key...), escape, terminator)
}

// appendAfter appends the least key above all that begin with b.
func appendAfter(dst, b []byte) []byte {
	dst = append(dst, b...)
	for i := len(dst) - 1; i >= 0; i-- {
		if dst[i] != 0xff {
			dst[i]++
			return dst[:i+1]
		}
		dst = dst[:i]
	}
	return append(dst, bytes.Repeat([]byte{0xff}, len(b)+1)...)
}

// address is what precedes the key in a database key.
type address struct {
	table uint16
	ns    int64
	group dataflow.KeyGroup
}

// parsePrefix returns what precedes the key, and the rest.
func parsePrefix(b []byte) (address, []byte, error) {
	if len(b) < prefixBytes {
		return address{}, nil, errKey
	}
	return address{
		table: binary.BigEndian.Uint16(b),
		ns:    int64(binary.BigEndian.Uint64(b[tableBytes:]) ^ (1 << 63)),
		group: dataflow.KeyGroup(binary.BigEndian.Uint16(b[tableBytes+nsBytes:])),
	}, b[prefixBytes:], nil
}

// parseHead appends the key to dst, and returns with it what follows the
// terminator: nothing for a head, else a subkey with its mark.
func parseHead(dst, b []byte) (key, rest []byte, err error) {
	for {
		i := bytes.IndexByte(b, escape)
		if i < 0 || i+1 >= len(b) {
			return nil, nil, errKey
		}
		dst = append(dst, b[:i]...)
		switch b[i+1] {
		case terminator:
			return dst, b[i+2:], nil
		case escaped:
			dst = append(dst, escape)
		default:
			return nil, nil, errKey
		}
		b = b[i+2:]
	}
}
