package jobmaster

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

func put(t *testing.T, s store.Store, key, text string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(text), int64(len(text))); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestObjectReader(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.Real{})
	text := strings.Repeat("0123456789", 500)
	put(t, s, "a/b", text)
	r := &objectReader{ctx: t.Context(), store: s, key: "a/b", size: int64(len(text))}
	if err := iotest.TestReader(r, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestCopySavepoint(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.Real{})
	f := files{store: s}
	const key = "jobs/j/savepoint-4/manifest"
	put(t, s, "jobs/j/savepoint-4/w.state", "state")
	m := &checkpointv1.Manifest{
		JobId: "j", CheckpointId: 4, Kind: checkpointv1.Kind_KIND_SAVEPOINT, MaxParallelism: 8,
		Operators: []*checkpointv1.Operator{{Id: "op", Uid: "op", Parallelism: 1}},
		Handles:   []*controlv1.StateHandle{{OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Object: "jobs/j/savepoint-4/w.state", Length: 5}},
		Objects:   []*checkpointv1.Object{{Key: "jobs/j/savepoint-4/w.state", Size: 5}},
	}
	if _, err := manifest.Write(t.Context(), s, key, m); err != nil {
		t.Fatal(err)
	}
	to, err := f.copySavepoint(t.Context(), key, "backup/x/")
	if err != nil || to != "backup/x/manifest" {
		t.Fatalf("copied to %q, error %v", to, err)
	}
	got, err := manifest.Read(t.Context(), s, to)
	if err != nil {
		t.Fatal(err)
	}
	if o := got.GetHandles()[0].GetObject(); o != "backup/x/w.state" || read(t, s, o) != "state" {
		t.Fatalf("the copy names %q", o)
	}
}

// A copy that was cut off is made again; one that is whole is left alone.
func TestCopyIsRepeatable(t *testing.T) {
	t.Parallel()
	s := memstore.New(clock.Real{})
	f := files{store: s}
	put(t, s, "from", "12345")
	put(t, s, "to", "123")
	if err := f.copy(t.Context(), "from", "to"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "to"); got != "12345" {
		t.Fatalf("copy holds %q", got)
	}
	if err := f.copy(t.Context(), "missing", "to"); err == nil {
		t.Fatal("a missing object was copied")
	}
}

func TestRecordKeepsItsForm(t *testing.T) {
	t.Parallel()
	r := &Record{ID: "j", Name: "n", Attempt: 3, Goal: "cancel", Incarnation: "i", Submitted: 5}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"id":"j","name":"n","bundle":{"sha256":"","key":"","size":0},"inputs":{},"submitted":5,"incarnation":"i","attempt":3,"goal":"cancel"}`
	if string(b) != want {
		t.Fatalf("record is stored as\n%s, want\n%s", b, want)
	}
	back, err := DecodeRecord(b)
	if err != nil || back.Attempt != 3 || back.Goal.goal() != 3 {
		t.Fatalf("read back %+v, error %v", back, err)
	}
	if _, err := DecodeRecord(bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1)); err == nil {
		t.Fatal("a record of a later version was read")
	}
}

func TestMailbox(t *testing.T) {
	t.Parallel()
	m := newMailbox()
	for range MailboxMax / 2 {
		m.post(Tick{})
	}
	m.offer(Begin{}) // dropped: half full
	if n := len(m.take()); n != MailboxMax/2 {
		t.Fatalf("%d events wait", n)
	}
	for range MailboxMax {
		m.post(Tick{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.deliver(ctx, Begin{}) // full: gives up with ctx
	done := make(chan struct{})
	go func() { m.deliver(t.Context(), Begin{}); close(done) }()
	if n := len(m.take()); n < MailboxMax || n > MailboxMax+1 {
		t.Fatalf("%d events wait", n)
	}
	<-done
	m.close()
	m.post(Tick{})
	m.deliver(t.Context(), Tick{})
	if n := len(m.take()); n != 0 {
		t.Fatalf("%d events after close", n)
	}
}
