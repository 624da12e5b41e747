package ha

import (
	"errors"
	"fmt"
	"strings"
)

// CommitBytesMax bounds the keys and values of one Commit together: etcd
// refuses requests of more than 1.5 MiB, and large things are blobs.
const CommitBytesMax = 1 << 20

// CheckWrites returns an error unless Commit may be called with writes.
// Implementations call it first; such an error says that nothing was written.
func CheckWrites(writes []Write) error {
	if len(writes) == 0 {
		return errors.New("commit without writes")
	}
	if len(writes) > WritesMax {
		return fmt.Errorf("commit of %d writes, more than %d: split it", len(writes), WritesMax)
	}
	seen := make(map[string]bool, len(writes))
	size := 0
	for _, w := range writes {
		if err := CheckKey(w.Key); err != nil {
			return err
		}
		if seen[w.Key] {
			return fmt.Errorf("commit writes key %q twice", w.Key)
		}
		seen[w.Key] = true
		size += len(w.Key) + len(w.Value)
	}
	if size > CommitBytesMax {
		return fmt.Errorf("commit of %d bytes, more than %d: keep large values in the object store", size, CommitBytesMax)
	}
	return nil
}

// CheckKey returns an error unless key can be written.
func CheckKey(key string) error {
	if key == "" || strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") || strings.Contains(key, "//") {
		return fmt.Errorf("key %q is empty or has an empty segment", key)
	}
	return nil
}
