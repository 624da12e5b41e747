package store

import (
	"fmt"
	"strings"
)

// KeyMax is the most bytes a key may have: S3 allows 1,024 with its prefix.
const KeyMax = 900

// CheckKey returns an error unless key is a valid object key. Implementations
// call it first in every method that takes a key.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("object key is empty")
	}
	if len(key) > KeyMax {
		return fmt.Errorf("object key %q… has %d bytes, more than %d", key[:40], len(key), KeyMax)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return fmt.Errorf("object key %q has a segment %q", key, seg)
		}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' || r == '\\' }) {
		return fmt.Errorf("object key %q has a control character, a backslash or is not UTF-8", key)
	}
	return nil
}

// CheckRange returns the number of bytes to read of an object of size bytes,
// or an error that names the object when the range is not within it.
func CheckRange(key string, size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size || length > size-offset {
		return 0, fmt.Errorf("read %d bytes at %d of object %q, which has %d", length, offset, key, size)
	}
	if length < 0 {
		return size - offset, nil
	}
	return length, nil
}
