package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/internal/devbroker"
)

// TestKafkaRecords creates a topic, writes lines to it and reads them back,
// beside a transaction that stays open and one that was aborted.
func TestKafkaRecords(t *testing.T) {
	t.Parallel()
	b, err := devbroker.Start(devbroker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	verb := func(wantCode int, in string, args ...string) string {
		t.Helper()
		var out, errOut bytes.Buffer
		code := Main(append([]string{"kafka", "--brokers", b.Bootstrap()}, args...), strings.NewReader(in), &out, &errOut)
		if code != wantCode {
			t.Fatalf("%v ends with %d, want %d: %s", args, code, wantCode, &errOut)
		}
		return out.String() + errOut.String()
	}
	has := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	has(verb(exitNotFound, "a\n", "produce", "words"), `fix: flinkctl kafka create words`)
	has(verb(exitNotFound, "", "consume", "words"), "LEAT5113")
	has(verb(exitOK, "", "create", "words", "--partitions", "2"), "created")
	has(verb(exitOK, "", "create", "words"), "exists")
	if out := verb(exitOK, "", "consume", "words"); out != "" {
		t.Errorf("an empty topic has %q", out)
	}
	abandon(t, b.Bootstrap(), "aborted", true)
	has(verb(exitOK, "to be\nor not\n", "produce", "words"), "2")
	abandon(t, b.Bootstrap(), "open", false)
	if out := verb(exitOK, "", "consume", "words"); out != "to be\nor not\n" {
		t.Errorf("read %q", out)
	}
	all := verb(exitOK, "", "consume", "words", "--uncommitted")
	for _, want := range []string{"to be\n", "aborted\n", "open\n"} {
		has(all, want)
	}
}

// abandon writes a record, its text, in a transaction that is aborted or left open.
func abandon(t *testing.T, brokers, text string, abort bool) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.TransactionalID(text), kgo.DefaultProduceTopic("words"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord(text)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if abort {
		if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	}
}
