package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
)

// far is an object store whose answers take a while.
type far struct {
	mu         sync.Mutex
	open, most int
	opens      int
}

const farAnswers = 100 * time.Millisecond

func (f *far) Put(context.Context, string, io.ReadSeeker, int64) error { return nil }

func (f *far) Get(ctx context.Context, key string, _, _ int64) (io.ReadCloser, error) {
	f.mu.Lock()
	f.opens++
	f.open++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	select {
	case <-time.After(farAnswers):
		return &farBody{Reader: bytes.NewReader([]byte(key)), f: f}, nil
	case <-ctx.Done():
		f.mu.Lock()
		f.open--
		f.mu.Unlock()
		return nil, ctx.Err()
	}
}

type farBody struct {
	io.Reader
	f *far
}

func (b *farBody) Close() error {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.f.open--
	return nil
}

// TestChainsAreAskedForAhead: the answers of the store overlap, within a bound,
// and nothing stays open, also when the reader gives up in the midst.
func TestChainsAreAskedForAhead(t *testing.T) {
	t.Parallel()
	const files = 40
	for _, giveUp := range []int{files, 0, 7} {
		synctest.Test(t, func(t *testing.T) {
			restore := &controlv1.Restore{}
			for i := range files {
				key := fmt.Sprint("object ", i)
				restore.Handles = append(restore.Handles, &controlv1.StateHandle{
					OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_KEYED, Object: key, Length: int64(len(key)), KeyGroupLast: 127,
					Crc32C: crc32.Checksum([]byte(key), crc32.MakeTable(crc32.Castagnoli)), Written: int64(i + 1), Base: int64(i), WholeFirst: 1,
				})
			}
			f := &far{}
			begun, n := time.Now(), 0
			err := newRestorer(f, restore).Keyed(t.Context(), "op", dataflow.KeyGroupRange{Last: 127}, func(r io.Reader, _ state.RestorePart) error {
				b, err := io.ReadAll(r)
				if want := fmt.Sprint("object ", n); string(b) != want || err != nil {
					t.Errorf("read %q, %v, want %q", b, err, want)
				}
				if n++; n > giveUp {
					return errors.New("enough")
				}
				return nil
			})
			if (err != nil) != (giveUp < files) {
				t.Error(err)
			}
			if took := time.Since(begun); took > (files/aheadMax+1)*farAnswers {
				t.Errorf("it took %s", took)
			}
			if f.open != 0 || f.most > aheadMax+1 || f.opens > n+aheadMax {
				t.Errorf("%d are open, %d at a time, %d of %d asked for", f.open, f.most, f.opens, n)
			}
		})
	}
}
