package codec

import (
	"encoding/binary"
	"math/bits"
)

// The four constants of the hash; part of the format.
const (
	hash0 = 0x2d358dccaa6c78a5
	hash1 = 0x8bb84b93962eacc9
	hash2 = 0x4b33a62ed433d4a3
	hash3 = 0x4d5a2da51de1aa47
)

// HashKey hashes an encoded key. It is a format: the same bytes give the same
// hash in every process, version and platform. The function is wyhash (final
// version 4.2) with seed 0. Key groups use the low bits: a table inside a
// subtask should use the high ones.
func HashKey(encoded []byte) uint64 { return hashSeeded(encoded, hashSeed) }

// hashSeed is what seed 0 becomes in the first step: mix(hash0, hash1).
const hashSeed = (hash0 * hash1 & (1<<64 - 1)) ^ (hash0 * hash1 >> 64)

// hashSeeded is wyhash after its first step, which makes a fixed number of a
// fixed seed.
func hashSeeded(p []byte, seed uint64) uint64 {
	n := len(p)
	var a, b uint64
	switch {
	case n > 16:
		return hashLong(p, seed)
	case n >= 8:
		// For 8 to 15 bytes the middle words overlap; n>>3<<2 is 4, or 8 at 16.
		mid := n >> 3 << 2
		a = uint64(le32(p))<<32 | uint64(le32(p[mid:]))
		b = uint64(le32(p[n-4:]))<<32 | uint64(le32(p[n-4-mid:]))
	case n >= 4:
		a = uint64(le32(p))<<32 | uint64(le32(p))
		b = uint64(le32(p[n-4:]))<<32 | uint64(le32(p[n-4:]))
	case n > 0:
		a = uint64(p[0])<<16 | uint64(p[n>>1])<<8 | uint64(p[n-1])
	}
	return finish(a, b, seed, n)
}

func hashLong(p []byte, seed uint64) uint64 {
	n := len(p)
	rest := p
	if len(rest) >= 48 {
		s1, s2 := seed, seed
		for len(rest) >= 48 {
			seed = mix(le64(rest)^hash1, le64(rest[8:])^seed)
			s1 = mix(le64(rest[16:])^hash2, le64(rest[24:])^s1)
			s2 = mix(le64(rest[32:])^hash3, le64(rest[40:])^s2)
			rest = rest[48:]
		}
		seed ^= s1 ^ s2
	}
	for len(rest) > 16 {
		seed = mix(le64(rest)^hash1, le64(rest[8:])^seed)
		rest = rest[16:]
	}
	return finish(le64(p[n-16:]), le64(p[n-8:]), seed, n)
}

func finish(a, b, seed uint64, n int) uint64 {
	hi, lo := bits.Mul64(a^hash1, b^seed)
	return mix(lo^hash0^uint64(n), hi^hash1)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// HashKey64 is HashKey of the eight bytes of v, the highest first: the
// encoding of a 64-bit integer whose sign bit is flipped if it has one.
func HashKey64(v uint64) uint64 {
	v = bits.ReverseBytes64(v)
	lo, hi := v&(1<<32-1), v>>32
	return finish(lo<<32|hi, hi<<32|lo, hashSeed, 8)
}
