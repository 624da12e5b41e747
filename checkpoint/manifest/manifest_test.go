package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/internal/clock"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/manifest-v1.hex anew")

const (
	jobPrefix = "jobs/0123456789abcdef0123456789abcdef/"
	testKey   = jobPrefix + "chk-12/manifest"
	opA       = "00000000000000000000000000000a0a"
	opB       = "00000000000000000000000000000b0b"
)

func sample() *checkpointv1.Manifest {
	own, shared := jobPrefix+"chk-12/w1.state", jobPrefix+"chk-9/w1.state"
	return &checkpointv1.Manifest{
		JobId: "0123456789abcdef0123456789abcdef", JobName: "word count", Incarnation: "abcdef012345",
		CheckpointId: 12, Kind: checkpointv1.Kind_KIND_CHECKPOINT, GraphFingerprint: "f1", MaxParallelism: 1024,
		CreatedMillis: 1700000000123, Attempt: 3, EngineVersion: "0.1.0",
		Operators: []*checkpointv1.Operator{
			{Id: opA, Uid: "lines", Name: "Source: lines", Parallelism: 1, Finished: true},
			{Id: opB, Uid: "count", Name: "count", Parallelism: 2},
		},
		Handles: []*controlv1.StateHandle{
			{OperatorId: opA, Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Inline: []byte("offset 7")},
			{OperatorId: opB, Kind: controlv1.StateKind_STATE_KIND_KEYED, Object: own, Length: 100, Crc32C: 0xdeadbeef, KeyGroupLast: 511},
			{OperatorId: opB, Kind: controlv1.StateKind_STATE_KIND_KEYED, Subtask: 1, Object: shared, Offset: 64, Length: 36, Crc32C: 1, KeyGroupFirst: 512, KeyGroupLast: 1023},
		},
		Coordinators: []*controlv1.CoordinatorState{{OperatorId: opA, State: []byte("splits")}},
		Objects:      []*checkpointv1.Object{{Key: own, Size: 100}, {Key: shared, Size: 100}},
	}
}

func mustEncode(t testing.TB, key string, m *checkpointv1.Manifest) []byte {
	t.Helper()
	data, err := Encode(key, m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	m := sample()
	got, err := Decode(testKey, mustEncode(t, testKey, m))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, sample()) || !proto.Equal(m, sample()) {
		t.Fatalf("got %v", got)
	}
}

// The golden file is what version 1 wrote; it must be readable for ever, and
// be written the same as long as 1 is the version.
func TestGoldenV1(t *testing.T) {
	t.Parallel()
	const path = "testdata/manifest-v1.hex"
	data := mustEncode(t, testKey, sample())
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(hex.Dump(data)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(data); got != string(want) {
		t.Fatalf("encoded form has changed:\n%s\nwant:\n%s", got, want)
	}
}

func TestSavepointMoves(t *testing.T) {
	t.Parallel()
	m := sample()
	m.Kind = checkpointv1.Kind_KIND_SAVEPOINT
	if _, err := Encode(testKey, m); err == nil || !strings.Contains(err.Error(), "chk-9/w1.state") {
		t.Fatalf("a savepoint that needs an object elsewhere was encoded: %v", err)
	}
	m.Handles, m.Objects = m.Handles[:2], m.Objects[:1]
	moved, err := Decode("backups/2026/manifest", mustEncode(t, testKey, m))
	if err != nil {
		t.Fatal(err)
	}
	if got := moved.GetHandles()[1].GetObject(); got != "backups/2026/w1.state" {
		t.Fatalf("object is %q after the move", got)
	}
	if got := moved.GetObjects()[0].GetKey(); got != "backups/2026/w1.state" {
		t.Fatalf("listed object is %q after the move", got)
	}
	root, err := Decode("manifest", mustEncode(t, testKey, m))
	if err != nil || root.GetObjects()[0].GetKey() != "w1.state" {
		t.Fatalf("at the root: %v, %v", root.GetObjects(), err)
	}
}

func TestTornAtEveryByte(t *testing.T) {
	t.Parallel()
	data := mustEncode(t, testKey, sample())
	for n := range data {
		_, err := Decode(testKey, data[:n])
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Key != testKey || corrupt.Offset != int64(n) {
			t.Fatalf("cut at %d of %d: %v", n, len(data), err)
		}
	}
	if _, err := Decode(testKey, append(bytes.Clone(data), 0)); err == nil {
		t.Fatal("a byte after the body was not seen")
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	t.Parallel()
	data := mustEncode(t, testKey, sample())
	for i := range data {
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			_, err := Decode(testKey, flipped)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			if corrupt.Offset > int64(i) && i >= headerSize {
				t.Fatalf("byte %d is wrong, the error says %d", i, corrupt.Offset)
			}
		}
	}
}

func TestNewerVersionIsNotCorrupt(t *testing.T) {
	t.Parallel()
	data := mustEncode(t, testKey, sample())
	data[8] = 2
	sum := checksum(data[:headerCheck])
	data[24], data[25], data[26], data[27] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	_, err := Decode(testKey, data)
	var corrupt *CorruptError
	if !errors.Is(err, ErrVersion) || errors.As(err, &corrupt) || !strings.Contains(err.Error(), "version 2") {
		t.Fatal(err)
	}
}

func TestValidateNamesTheFault(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*checkpointv1.Manifest){
		"id 0":             func(m *checkpointv1.Manifest) { m.CheckpointId = 0 },
		"kind 9":           func(m *checkpointv1.Manifest) { m.Kind = 9 },
		"parallelism 0":    func(m *checkpointv1.Manifest) { m.MaxParallelism = 0 },
		"not listed":       func(m *checkpointv1.Manifest) { m.Objects = m.Objects[:1] },
		"listed twice":     func(m *checkpointv1.Manifest) { m.Objects = append(m.Objects, m.Objects[0]) },
		"not within":       func(m *checkpointv1.Manifest) { m.Handles[1].Offset = 1 },
		"no kind":          func(m *checkpointv1.Manifest) { m.Handles[1].Kind = 0 },
		"key group 1024":   func(m *checkpointv1.Manifest) { m.Handles[1].KeyGroupLast = 1024 },
		"and inline":       func(m *checkpointv1.Manifest) { m.Handles[1].Inline = []byte("x") },
		`a segment ".."`:   func(m *checkpointv1.Manifest) { m.Objects[0].Key = "jobs/../x" },
		"are not within":   func(m *checkpointv1.Manifest) { m.Handles[1].Offset = -1 },
		"bytes at 9223372": func(m *checkpointv1.Manifest) { m.Handles[1].Offset = 1<<63 - 1 },
	}
	for want, breakIt := range cases {
		m := sample()
		breakIt(m)
		if _, err := Encode(testKey, m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), memstore.New(clock.Real{})
	if _, err := Read(ctx, s, testKey); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	n, err := Write(ctx, s, testKey, sample())
	if err != nil || n < headerSize {
		t.Fatal(n, err)
	}
	if _, err := Write(ctx, s, testKey, sample()); !errors.Is(err, store.ErrExists) {
		t.Fatalf("a manifest was written over: %v", err)
	}
	m, err := Read(ctx, s, testKey)
	if err != nil || !proto.Equal(m, sample()) {
		t.Fatal(m, err)
	}
}

func FuzzDecode(f *testing.F) {
	data := mustEncode(f, testKey, sample())
	f.Add(data)
	f.Add(data[:40])
	f.Add([]byte(magic))
	body := mustEncode(f, testKey, &checkpointv1.Manifest{CheckpointId: 1, Kind: 1, MaxParallelism: 1})
	f.Add(body)
	f.Fuzz(func(t *testing.T, in []byte) {
		// With the checksums made right, so that the body is reached.
		if len(in) >= headerSize {
			fixed := bytes.Clone(in)
			putHeader(fixed)
			checkDecoded(t, fixed)
		}
		checkDecoded(t, in)
	})
}

func checkDecoded(t *testing.T, in []byte) {
	m, err := Decode(testKey, in)
	if err != nil {
		return
	}
	again, err := Decode(testKey, mustEncodeAny(t, m))
	if err != nil || !proto.Equal(m, again) {
		t.Fatalf("%v: decoded to\n%v\nthen to\n%v", err, m, again)
	}
}

func mustEncodeAny(t *testing.T, m *checkpointv1.Manifest) []byte {
	if m.GetKind() == checkpointv1.Kind_KIND_SAVEPOINT {
		m.Kind = checkpointv1.Kind_KIND_CHECKPOINT
	}
	return mustEncode(t, testKey, m)
}
