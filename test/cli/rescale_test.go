package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/test/proof"
)

const rescaleOrders = 30_000

// rescale stops the orders job with a savepoint twice, starts it again with
// another parallelism each time, and proves what it committed.
func (c *cluster) rescale(t *testing.T) {
	in := proof.Generate(77, rescaleOrders, 2*time.Hour)
	topics := proof.TopicsWith("rescale.")
	if err := proof.CreateTopics(t.Context(), c.kafka, topics); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- proof.Produce(t.Context(), c.kafka, topics.Orders, in, 8*time.Second, nil) }()
	t.Cleanup(func() { <-written })
	var end []string
	for p, recs := range in.Partitions {
		end = append(end, fmt.Sprintf("%d:%d", p, len(recs)))
	}
	args := []string{"--", "--brokers", c.kafka, "--topics", "rescale.", "--end", strings.Join(end, ",")}

	from := ""
	for i, parallelism := range []string{"2", "3", "1"} {
		name := fmt.Sprintf("rescale-%d", i)
		submit := []string{"run", c.orders, "--name", name, "--parallelism", parallelism}
		if from != "" {
			submit = append(submit, "--from-savepoint", from)
		}
		if i == 2 {
			submit = append(submit, "--wait", "finished")
			c.must(t, append(submit, args...)...)
			break
		}
		c.must(t, append(submit, args...)...)
		c.must(t, "job", "wait", name, "--for", "checkpoint", "--timeout", "60s")
		var op struct{ Location string }
		if err := json.Unmarshal([]byte(c.must(t, "job", "stop", name, "-o", "json")), &op); err != nil || op.Location == "" {
			t.Fatalf("stop of %s gives %+v: %v", name, op, err)
		}
		from = op.Location
		if res := run(t, c.bin, c.env(), "job", "get", name, "-o", "json"); !strings.Contains(res.out, `"state": "FINISHED"`) {
			t.Errorf("%s has not finished with its savepoint:\n%s", name, res.out)
		}
	}
	res, err := proof.Check(t.Context(), c.kafka, topics, in)
	if err != nil {
		t.Fatal(err)
	}
	if sum := res.Counted + res.Late + res.DeadLetters + res.Rules; sum != in.Len() {
		t.Errorf("%d orders are accounted for, not %d", sum, in.Len())
	}
	for _, f := range res.Faults {
		t.Error(f)
	}
}
