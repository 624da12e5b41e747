package fault

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse(" kafka.sink.after-seal=crash@3 ; kafka.sink.after-flush=delay:100ms;")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[KafkaSinkAfterSeal] != (rule{action: actCrash, at: 3}) ||
		got[KafkaSinkAfterFlush] != (rule{action: actDelay, delay: 100 * time.Millisecond}) {
		t.Fatalf("got %+v", got)
	}
	for _, bad := range []string{"nowhere=crash", "kafka.sink.after-seal", "kafka.sink.after-seal=burn", "kafka.sink.after-seal=crash@0", "kafka.sink.after-seal=delay:x"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestHitWithoutEnvironmentDoesNothing(t *testing.T) {
	t.Parallel()
	for _, p := range Names() {
		if err := Hit(p); err != nil {
			t.Error(err)
		}
	}
}
