package codec

import (
	"strings"
	"testing"
)

// The published test vectors of wyhash 4.2 use seeds 0 to 6.
func TestHashIsWyhash(t *testing.T) {
	t.Parallel()
	for seed, c := range []struct {
		text string
		want uint64
	}{
		{"", 0x93228a4de0eec5a2},
		{"a", 0xc5bac3db178713c4},
		{"abc", 0xa97f2f7b1d9b3314},
		{"message digest", 0x786d1f1df3801df4},
		{"abcdefghijklmnopqrstuvwxyz", 0xdca5a8138ad37c87},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xb9e734f117cfaf70},
		{strings.Repeat("1234567890", 8), 0x6cc5eab49a92d617},
	} {
		s := uint64(seed)
		s ^= mix(s^hash0, hash1)
		if got := hashSeeded([]byte(c.text), s); got != c.want {
			t.Errorf("wyhash(%q, %d) = %#x, want %#x", c.text, seed, got, c.want)
		}
	}
	if mix(hash0, hash1) != uint64(hashSeed) {
		t.Errorf("hashSeed = %#x, want %#x", uint64(hashSeed), mix(hash0, hash1))
	}
}
