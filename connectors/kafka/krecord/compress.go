package krecord

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression codec.
type Codec uint8

// The codecs, by their number in the batch's attributes.
const (
	NoCompression Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String returns the name used in configuration.
func (c Codec) String() string {
	if int(c) < len(codecNames()) {
		return codecNames()[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

func codecNames() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// CodecOf returns the codec of a name: none, gzip, snappy, lz4 or zstd.
func CodecOf(name string) (Codec, error) {
	for i, n := range codecNames() {
		if n == name {
			return Codec(i), nil
		}
	}
	return 0, fmt.Errorf("compression %q: want one of %q", name, codecNames())
}

// batchBytesMax bounds a decompressed batch: brokers refuse batches above
// 1 MB by default, and no sane limit reaches this.
const batchBytesMax = 256 << 20

// inflater decompresses into memory that it reuses. The zero value is ready.
type inflater struct {
	out  bytes.Buffer // of the stream codecs
	mem  []byte       // of the block codecs
	src  bytes.Reader
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
}

// inflate returns the decompressed bytes, valid until the next call.
func (f *inflater) inflate(c Codec, b []byte) ([]byte, error) {
	switch c {
	case NoCompression:
		return b, nil
	case Gzip:
		return f.gunzip(b)
	case Snappy:
		return f.unsnappy(b)
	case LZ4:
		if f.lz4 == nil {
			f.lz4 = lz4.NewReader(nil)
		}
		f.src.Reset(b)
		f.lz4.Reset(&f.src)
		return f.drain(f.lz4)
	case Zstd:
		return f.unzstd(b)
	}
	return nil, unknownCodec(c)
}

func unknownCodec(c Codec) error {
	return fmt.Errorf("compression codec %d is unknown, these are known: %q", uint8(c), codecNames())
}

func (f *inflater) drain(r io.Reader) ([]byte, error) {
	f.out.Reset()
	n, err := f.out.ReadFrom(io.LimitReader(r, batchBytesMax+1))
	if err != nil {
		return nil, err
	}
	if n > batchBytesMax {
		return nil, errTooLarge()
	}
	return f.out.Bytes(), nil
}

func errTooLarge() error {
	return fmt.Errorf("batch decompresses to more than %d bytes", batchBytesMax)
}

func (f *inflater) gunzip(b []byte) ([]byte, error) {
	f.src.Reset(b)
	var err error
	if f.gzip == nil {
		f.gzip, err = gzip.NewReader(&f.src)
	} else {
		err = f.gzip.Reset(&f.src)
	}
	if err != nil {
		return nil, err
	}
	return f.drain(f.gzip)
}

func (f *inflater) unzstd(b []byte) ([]byte, error) {
	if f.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(batchBytesMax))
		if err != nil {
			return nil, err
		}
		f.zstd = d
	}
	out, err := f.zstd.DecodeAll(b, f.mem[:0])
	if err != nil {
		return nil, err
	}
	f.mem = out
	return out, nil
}

// xerialMagic starts the framing that Java clients put around snappy blocks.
const xerialMagic = "\x82SNAPPY\x00"

func (f *inflater) unsnappy(b []byte) ([]byte, error) {
	f.mem = f.mem[:0]
	if !bytes.HasPrefix(b, []byte(xerialMagic)) {
		err := f.unsnapBlock(b)
		return f.mem, err
	}
	if len(b) < 16 {
		return nil, io.ErrUnexpectedEOF
	}
	for b = b[16:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-4 {
			return nil, io.ErrUnexpectedEOF
		}
		if err := f.unsnapBlock(b[4 : 4+n]); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return f.mem, nil
}

// unsnapBlock appends a decoded block to mem.
func (f *inflater) unsnapBlock(b []byte) error {
	n, err := snappy.DecodedLen(b)
	if err != nil {
		return err
	}
	from := len(f.mem)
	if n > batchBytesMax-from {
		return errTooLarge()
	}
	f.mem = slices.Grow(f.mem, n)
	out, err := snappy.Decode(f.mem[from:from+n], b)
	if err != nil {
		return err
	}
	f.mem = f.mem[:from+len(out)]
	return nil
}

// Deflater compresses; it is large, so it is shared by many builders. The zero
// value is ready; one goroutine uses it.
type Deflater struct {
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
	out  bytes.Buffer
}

// deflate appends the compressed form of b to dst.
func (f *Deflater) deflate(dst []byte, c Codec, b []byte) ([]byte, error) {
	switch c {
	case Snappy:
		n := len(dst)
		need := snappy.MaxEncodedLen(len(b))
		if need < 0 {
			return nil, errors.New("batch is too large for snappy")
		}
		dst = append(dst, make([]byte, need)...)
		return dst[:n+len(snappy.Encode(dst[n:], b))], nil
	case Zstd:
		if f.zstd == nil {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				return nil, err
			}
			f.zstd = e
		}
		return f.zstd.EncodeAll(b, dst), nil
	case Gzip:
		f.out.Reset()
		if f.gzip == nil {
			f.gzip = gzip.NewWriter(&f.out)
		} else {
			f.gzip.Reset(&f.out)
		}
		return f.finish(dst, f.gzip, b)
	case LZ4:
		f.out.Reset()
		if f.lz4 == nil {
			f.lz4 = lz4.NewWriter(&f.out)
			if err := f.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
				return nil, err
			}
		} else {
			f.lz4.Reset(&f.out)
		}
		return f.finish(dst, f.lz4, b)
	}
	return nil, unknownCodec(c)
}

func (f *Deflater) finish(dst []byte, w io.WriteCloser, b []byte) ([]byte, error) {
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return append(dst, f.out.Bytes()...), nil
}
